"""Download one file so that it arrives whole, verified, or not at all.

The bytes go to ``TARGET.part``. An interrupted download is continued where it stopped, by the next attempt or by the
next run: the request asks for the missing range on condition that the file is still the one seen before (its ETag is
kept in ``TARGET.part.etag``). Only a complete file with the right SHA-256 is renamed to ``TARGET``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5
BACKOFF = 1.0  # seconds before the second attempt; doubles each time
CHUNK = 1 << 20  # bytes
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

Advance = Callable[[int, "int | None"], None]  # (bytes so far, bytes in all if known)


class DownloadError(OSError):
    """A download that did not succeed; the message says whether running again continues it."""


class _Interrupted(Exception):
    """The connection broke in a way that another attempt may cure."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds that the server asked for


def download(
    url: str,
    target: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    progress: bool = True,
    timeout: float | None = None,
    attempts: int | None = None,
    backoff: float | None = None,
) -> Path:
    """Fetch ``url`` into the file ``target``.

    Proxies are taken from the environment (``https_proxy``, ``no_proxy``).

    Parameters
    ----------
    url : str
        An http or https address.
    target : path
        The file to write; an existing file is replaced once the new one is complete.
    sha256 : str, optional
        Expected SHA-256 in hexadecimal, or its first digits.
    progress : bool
        Draw a progress bar on stderr if that is a terminal, and tell there about new attempts.
    timeout, attempts, backoff : number, optional
        Seconds without a byte before giving up an attempt, number of attempts, and seconds before the second one
        (doubling from there); the defaults are this module's constants.

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    DownloadError
        If the file does not exist, the connection keeps failing, the disk is full or the content is not the expected
        one. The unfinished ``target.part`` stays, to be continued by the next call, unless its content is wrong.
    """
    _check_scheme(url)
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target)
    attempts = ATTEMPTS if attempts is None else attempts
    backoff = BACKOFF if backoff is None else backoff
    failures = 0
    with _progress_bar(target.name, progress) as advance:
        while True:
            try:
                _transfer(url, part, sha256 is not None, TIMEOUT if timeout is None else timeout, advance)
                break
            except _Interrupted as reason:
                failures += 1
                if failures >= attempts:
                    raise DownloadError(f"{url}: {reason} (after {attempts} attempts); {_kept(part)}") from None
                wait = max(backoff * 2 ** (failures - 1), min(reason.wait, 60.0))
                if progress:
                    print(f"{reason}; attempt {failures + 1} of {attempts} in {wait:g} s", file=sys.stderr)
                time.sleep(wait)
            except KeyboardInterrupt:
                if progress:
                    print(f"\n{_kept(part)}", file=sys.stderr)
                raise
    digest = part.hash.hexdigest()
    if sha256 is not None and not digest.startswith(sha256.lower()):
        part.discard()
        raise DownloadError(
            f"{url}: the content is not the published one: its SHA-256 is {digest}, expected {sha256}"
            f"{'...' if len(sha256) < 64 else ''}. The file was removed; run again to fetch it anew"
        )
    part.finish(target)
    return target


def _kept(part: _Part) -> str:
    if not part.size:
        return "nothing had arrived yet, run again later"
    return f"{part.size} bytes are kept in {part.path}, run again to continue"


class _Part:
    """The unfinished file: its size and running hash, and the ETag of what it is a part of."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".part")
        self._etag_path = target.with_name(target.name + ".part.etag")
        self.size = 0
        self.hash = hashlib.sha256()
        if self.path.exists():
            with open(self.path, "rb") as file:
                while chunk := file.read(CHUNK):
                    self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self.hash.update(chunk)
        self.size += len(chunk)

    @property
    def etag(self) -> str | None:
        return self._etag_path.read_text("latin-1") if self._etag_path.exists() else None

    def restart(self, etag: str | None) -> None:
        """Empty the file, which is now a part of the file with this ETag."""
        self.path.write_bytes(b"")
        self.size, self.hash = 0, hashlib.sha256()
        if etag is None:
            self._etag_path.unlink(missing_ok=True)
        else:
            self._etag_path.write_text(etag, "latin-1")

    def append(self, file: IO[bytes], chunk: bytes) -> None:
        file.write(chunk)
        self._count(chunk)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._etag_path.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        os.replace(self.path, target)
        self._etag_path.unlink(missing_ok=True)


def _transfer(url: str, part: _Part, verified: bool, timeout: float, advance: Advance) -> None:
    """One request: append what is missing to the part. Returns when the part is complete."""
    if part.size and part.etag is None and not verified:
        part.restart(None)  # nothing would tell whether the rest belongs to the same file
    resume = part.size
    try:
        response = _open(url, part, timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and resume:  # nothing is missing, or the file has become shorter
                if error.headers.get("Content-Range") == f"bytes */{resume}":
                    return
                part.restart(None)
                raise _Interrupted("the file on the server has changed") from None
            raise _http_error(url, error) from None
    except (OSError, http.client.HTTPException) as error:
        raise _connection_error(url, error) from None
    with response:
        etag = response.headers.get("ETag")
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        if response.status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != resume or (part.etag and etag and etag != part.etag):
                part.restart(None)
                raise _Interrupted("the file on the server has changed")
            total = int(match[2]) if match[2] != "*" else None
        else:  # the whole file: the first request, a server without ranges, or a changed file
            part.restart(etag)
        _receive(url, response, part, total, advance)


def _receive(url: str, response: Any, part: _Part, total: int | None, advance: Advance) -> None:
    """Append the body of a response to the part."""
    if total is not None and (free := shutil.disk_usage(part.path.parent).free) < total - part.size:
        raise DownloadError(
            f"no space for {part.path.parent / part.path.stem}: {total - part.size} bytes are missing and {free} are "
            "free; make room and run again to continue"
        )
    with _disk_errors(part), open(part.path, "ab") as file:
        advance(part.size, total)
        while True:
            try:
                chunk = response.read1(CHUNK)  # what has arrived: a broken connection loses nothing of it
            except http.client.IncompleteRead as error:
                part.append(file, error.partial)
                break
            except (OSError, http.client.HTTPException) as error:
                raise _connection_error(url, error) from None
            if not chunk:
                break
            part.append(file, chunk)
            advance(part.size, total)
    if total is not None and part.size < total:
        raise _Interrupted(f"the connection ended after {part.size} of {total} bytes")


@contextlib.contextmanager
def _disk_errors(part: _Part) -> Iterator[None]:
    try:
        yield
    except DownloadError:
        raise
    except OSError as error:
        hint = "make room and run again to continue" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "run again"
        raise DownloadError(f"cannot write {part.path}: {error.strerror or error}; {hint}") from error


def _open(url: str, part: _Part, timeout: float) -> Any:
    headers = {"User-Agent": "npresnet", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.etag and not part.etag.startswith("W/"):  # a weak ETag cannot vouch for single bytes
            headers["If-Range"] = part.etag
    opener = urllib.request.build_opener(_SafeRedirects)
    return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https back to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_scheme(newurl)
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(f"{req.full_url} redirects to the unprotected {newurl}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise DownloadError(f"only http and https addresses can be fetched, found {url!r}")


def _http_error(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code in TRANSIENT_STATUS:
        wait = error.headers.get("Retry-After", "")
        return _Interrupted(f"the server answered {error.code} {error.reason}", float(wait) if wait.isdigit() else 0.0)
    if error.code in (404, 410):
        return DownloadError(f"{url}: there is no such file on the server ({error.code} {error.reason})")
    return DownloadError(f"{url}: the server refused with {error.code} {error.reason}")


def _connection_error(url: str, error: Exception) -> Exception:
    if isinstance(error, DownloadError):
        return error
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(f"{url}: the certificate of the server cannot be verified: {reason.verify_message}")
    if isinstance(reason, TimeoutError):
        return _Interrupted("the server does not answer")
    return _Interrupted(f"the connection failed: {reason or type(reason).__name__}")


@contextlib.contextmanager
def _progress_bar(name: str, wanted: bool) -> Iterator[Advance]:
    if not wanted or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
