"""Downloads against a misbehaving server on the loopback interface: whole and verified, or not there."""

from __future__ import annotations

import errno
import hashlib
import random
import shutil
import socket
import threading
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback import Loopback, Step, serve

from npresnet import download as module
from npresnet.download import DownloadError, download

CONTENT = random.Random(7).randbytes(200_000)
OTHER = random.Random(8).randbytes(150_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "BACKOFF", 0.001)
    monkeypatch.setattr(module, "TIMEOUT", 5.0)
    with serve() as loopback:
        loopback.files["/file.bin"] = CONTENT
        yield loopback


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_arrives_whole_and_alone(server: Loopback, tmp_path: Path) -> None:
    target = download(f"{server.url}/file.bin", tmp_path / "new" / "file.bin", sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == {"file.bin"}
    assert server.ranges_asked() == [None]


def test_the_beginning_of_the_hash_is_enough(server: Loopback, tmp_path: Path) -> None:
    download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256[:8].upper())
    with pytest.raises(DownloadError, match="not the published one"):
        download(f"{server.url}/file.bin", tmp_path / "other.bin", sha256="0" * 8)


def test_a_cut_connection_is_resumed_where_it_stopped(server: Loopback, tmp_path: Path) -> None:
    server.steps += [Step(cut=50_000), Step(cut=60_000), Step(cut=1)]
    target = download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.ranges_asked() == [None, "bytes=50000-", "bytes=110000-", "bytes=110001-"]
    assert all(headers["If-Range"].startswith('"') for _, headers in server.requests[1:])


def test_attempts_are_bounded_and_the_next_run_resumes(server: Loopback, tmp_path: Path) -> None:
    server.steps += [Step(cut=1000)] * 3
    with pytest.raises(DownloadError, match=r"3000 of 200000 bytes \(after 3 attempts\).*run again to continue"):
        download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256, attempts=3)
    assert names(tmp_path) == {"file.bin.part", "file.bin.part.etag"}
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:3000]
    target = download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert names(tmp_path) == {"file.bin"}
    assert server.ranges_asked()[-1] == "bytes=3000-"


def test_a_run_resumes_without_a_known_hash_if_the_etag_agrees(server: Loopback, tmp_path: Path) -> None:
    server.steps.append(Step(cut=1000))
    with pytest.raises(DownloadError):
        download(f"{server.url}/file.bin", tmp_path / "file.bin", attempts=1)
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges_asked() == [None, "bytes=1000-"]


def test_without_hash_and_etag_a_new_run_starts_again(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"from who knows where")
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges_asked() == [None]


def test_the_etag_of_an_earlier_file_is_forgotten(server: Loopback, tmp_path: Path) -> None:
    server.steps += [Step(cut=1000), Step(etag=None, ranges=False, cut=1500)]
    with pytest.raises(DownloadError):
        download(f"{server.url}/file.bin", tmp_path / "file.bin", attempts=2)
    assert names(tmp_path) == {"file.bin.part"}


def test_with_a_hash_a_part_of_unknown_origin_is_continued(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1234])
    download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert server.ranges_asked() == ["bytes=1234-"]


def test_a_complete_part_needs_no_bytes(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT
    assert server.ranges_asked() == ["bytes=200000-"]


def test_a_part_longer_than_the_file_is_dropped(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT


def test_a_server_that_ignores_ranges(server: Loopback, tmp_path: Path) -> None:
    server.steps += [Step(cut=50_000), Step(ranges=False)]
    target = download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_server_that_answers_with_another_range(server: Loopback, tmp_path: Path) -> None:
    server.steps += [Step(cut=50_000), Step(start=40_000), Step()]
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_that_falls_silent_costs_no_bytes(server: Loopback, tmp_path: Path) -> None:
    over = threading.Event()
    server.steps.append(Step(cut=50_000, stall=over))
    download(f"{server.url}/file.bin", tmp_path / "file.bin", timeout=0.1)
    over.set()
    assert server.ranges_asked() == [None, "bytes=50000-"]


@pytest.mark.parametrize("honour_if_range", [True, False])
def test_a_file_that_changes_in_between_is_not_mixed(server: Loopback, tmp_path: Path, honour_if_range: bool) -> None:
    changed = Step(content=OTHER, honour_if_range=honour_if_range)
    server.steps += [Step(cut=50_000), changed, Step(content=OTHER)]
    target = download(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert target.read_bytes() == OTHER


def test_a_weak_etag_is_compared_but_not_asked_for(server: Loopback, tmp_path: Path) -> None:
    server.steps += [Step(cut=50_000, etag='W/"1"'), Step(etag='W/"2"', content=OTHER), Step(content=OTHER)]
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin").read_bytes() == OTHER
    assert server.ranges_asked() == [None, "bytes=50000-", None]
    assert "If-Range" not in server.requests[1][1]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_transient_answers_are_tried_again(server: Loopback, tmp_path: Path, status: int) -> None:
    server.steps += [Step(status=status), Step(status=status)]
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_retry_after_is_honoured(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waits.append))
    server.steps += [Step(status=503, headers={"Retry-After": "7"}), Step(status=503, headers={"Retry-After": "9999"})]
    download(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert waits == [7.0, 60.0]


def test_backoff_doubles(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waits.append))
    server.steps += [Step(status=500)] * 3
    download(f"{server.url}/file.bin", tmp_path / "file.bin", backoff=0.5)
    assert waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("status", "words"), [(404, "no such file"), (410, "no such file"), (403, "refused with 403")])
def test_final_answers_are_not_tried_again(server: Loopback, tmp_path: Path, status: int, words: str) -> None:
    server.steps.append(Step(status=status))
    with pytest.raises(DownloadError, match=words) as caught:
        download(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert f"{server.url}/file.bin" in str(caught.value)
    assert len(server.requests) == 1
    assert names(tmp_path) == set()


def test_wrong_content_is_removed(server: Loopback, tmp_path: Path) -> None:
    server.steps.append(Step(content=OTHER))
    with pytest.raises(DownloadError, match=hashlib.sha256(OTHER).hexdigest()):
        download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert names(tmp_path) == set()


def test_wrong_content_leaves_an_older_file_alone(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"older")
    server.steps.append(Step(content=OTHER))
    with pytest.raises(DownloadError):
        download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert (tmp_path / "file.bin").read_bytes() == b"older"


def test_a_promise_of_more_bytes_than_there_are(server: Loopback, tmp_path: Path) -> None:
    server.steps.append(Step(length=200_010))
    with pytest.raises(DownloadError, match="after 200000 of 200010 bytes"):
        download(f"{server.url}/file.bin", tmp_path / "file.bin", attempts=1)
    assert not (tmp_path / "file.bin").exists()


def test_a_promise_of_fewer_bytes_than_there_are(server: Loopback, tmp_path: Path) -> None:
    server.steps.append(Step(length=199_990))
    with pytest.raises(DownloadError, match="not the published one"):
        download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert names(tmp_path) == set()


def test_a_full_disk_is_seen_before_the_download(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match=r"no space for .*file\.bin: 200000 bytes are missing and 1000 are free"):
        download(f"{server.url}/file.bin", tmp_path / "file.bin")


def test_a_disk_that_fills_up_keeps_the_part(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.steps.append(Step(cut=1000))
    with pytest.raises(DownloadError):
        download(f"{server.url}/file.bin", tmp_path / "file.bin", attempts=1)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module._Part, "append", full)
        with pytest.raises(DownloadError, match=r"file\.bin\.part: No space left on device; make room and run again"):
            download(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:1000]
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges_asked() == [None, "bytes=1000-", "bytes=1000-"]


def test_an_interrupt_keeps_the_part_and_says_so(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    append = module._Part.append

    def interrupted(self: module._Part, *args: object) -> None:
        append(self, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Part, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert "run again to continue" in capsys.readouterr().err
    assert names(tmp_path) == {"file.bin.part", "file.bin.part.etag"}
    kept = (tmp_path / "file.bin.part").read_bytes()
    assert kept
    assert CONTENT.startswith(kept)
    assert download(f"{server.url}/file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://127.0.0.1/x", "data:,x", "model.pth"])
def test_only_http_and_https(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="only http and https"):
        download(url, tmp_path / "file.bin")
    assert names(tmp_path) == set()


def test_redirects_are_followed_but_not_to_other_schemes(server: Loopback, tmp_path: Path) -> None:
    server.steps.append(Step(status=302, headers={"Location": f"{server.url}/file.bin"}))
    assert download(f"{server.url}/moved", tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT
    server.steps.append(Step(status=302, headers={"Location": "ftp://127.0.0.1/file.bin"}))
    with pytest.raises(DownloadError, match="ftp://127"):
        download(f"{server.url}/moved", tmp_path / "other.bin")
    assert names(tmp_path) == {"file.bin"}


def test_no_redirect_from_https_to_http() -> None:
    request = urllib.request.Request("https://weights.invalid/file.bin")
    follow = module._SafeRedirects().redirect_request
    with pytest.raises(DownloadError, match="unprotected http://weights"):
        follow(request, None, 302, "Found", Message(), "http://weights.invalid/file.bin")
    assert follow(request, None, 302, "Found", Message(), "https://mirror.invalid/file.bin")


def test_a_silent_server_times_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/file.bin"
        with pytest.raises(DownloadError, match="does not answer"):
            download(url, tmp_path / "file.bin", timeout=0.05, attempts=2, backoff=0.001)


def test_a_refused_connection(tmp_path: Path) -> None:
    with serve() as gone:
        url = gone.url
    with pytest.raises(DownloadError, match=r"the connection failed.*nothing had arrived"):
        download(f"{url}/file.bin", tmp_path / "file.bin", attempts=2, backoff=0.001)


def test_a_proxy_from_the_environment_is_used(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.files["http://weights.invalid/file.bin"] = CONTENT  # a proxy is asked for the whole address
    assert download("http://weights.invalid/file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT


def test_a_progress_bar_on_a_terminal_only(
    server: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    download(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    download(f"{server.url}/file.bin", tmp_path / "file.bin")
    out, err = capsys.readouterr()
    assert out == ""
    assert "file.bin" in err
    download(f"{server.url}/file.bin", tmp_path / "file.bin", progress=False)
    assert capsys.readouterr() == ("", "")
