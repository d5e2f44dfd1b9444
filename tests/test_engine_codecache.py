"""The cache of machine code: what was put comes back, nothing else does, and a broken disk is no error."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from npresnet.engine import codecache
from npresnet.engine.codecache import CodeCache, default_directories

CODE = bytes(range(256)) * 20
KEY = "conv 3×3/stride=2 avx512 \udcff"  # nothing here may trouble a file system

needs_owners = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners and modes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The folders that the system offers: the user's and the temporary one. The latter exists."""
    monkeypatch.delenv("NPRESNET_CACHE_DIR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return {"user": tmp_path / "user" / "npresnet" / "engine", "temp": tmp_path / "temp" / f"npresnet{user}"}


def code_file(cache: CodeCache) -> Path:
    """The only file of code."""
    assert cache.location is not None
    (file,) = cache.location.glob("*.code")
    return file


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the path belong to another user: only root can really do so, so others become another user."""
    if os.getuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)


# ----------------------------------------------------------------------------------------------------- keep and find


@pytest.mark.parametrize("key", ["a", KEY, "", "../../escape", "k" * 5000])
@pytest.mark.parametrize("code", [CODE, b""])
def test_what_was_put_comes_back(folder: Path, key: str, code: bytes) -> None:
    cache = CodeCache("this processor", folder)
    assert cache.get(key) is None
    cache.put(key, code)
    assert cache.get(key) == code
    assert CodeCache("this processor", folder).get(key) == code
    assert CodeCache("another processor", folder).get(key) is None
    assert CodeCache("this processor", folder).get(key + "2") is None
    assert code_file(cache).parent.parent == folder


def test_the_last_one_counts(folder: Path) -> None:
    for code in (CODE, b"shorter"):
        CodeCache("this processor", folder).put(KEY, code)
    assert CodeCache("this processor", folder).get(KEY) == b"shorter"


def test_keys_that_look_alike(folder: Path) -> None:
    cache = CodeCache("this processor", folder)
    keys = ["a b", "a_b", "A_b", "a/b", "é", "ê", "x" * 100 + "1", "x" * 100 + "2"]
    for key in keys:
        cache.put(key, key.encode())
    assert [cache.get(key) for key in keys] == [key.encode() for key in keys]


def test_files_tell_what_they_are(folder: Path) -> None:
    cache = CodeCache("this processor", folder)
    cache.put("conv 3x3", CODE)
    assert cache.location is not None
    assert (cache.location / "identity.txt").read_text() == "this processor\n"
    file = code_file(cache)
    assert file.name.startswith("conv_3x3-")
    content = file.read_bytes()
    assert content.startswith(b"npresnet machine code")
    assert b"conv 3x3" in content
    assert content.endswith(hashlib.sha256(CODE).digest() + CODE)
    assert {path.name for path in cache.location.iterdir()} == {"identity.txt", file.name}


@needs_owners
def test_nobody_else_may_look(folder: Path) -> None:
    old = os.umask(0)
    try:
        cache = CodeCache("this processor", folder)
        cache.put(KEY, CODE)
    finally:
        os.umask(old)
    file = code_file(cache)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, file.parent, file)] == [
        0o700, 0o700, 0o700, 0o600,
    ]  # fmt: skip


def test_clear(folder: Path) -> None:
    cache, other = CodeCache("this processor", folder), CodeCache("another processor", folder)
    cache.put(KEY, CODE)
    other.put(KEY, CODE)
    assert other.location is not None
    cache.clear()
    assert cache.get(KEY) is None
    assert list(folder.iterdir()) == [other.location]
    assert other.get(KEY) == CODE
    cache.put(KEY, CODE)
    assert CodeCache("this processor", folder).get(KEY) == CODE


# -------------------------------------------------------------------------------------------------- damage and trust


def damaged(content: bytes) -> dict[str, bytes]:
    """Contents that must not be taken for the right one."""
    flipped = {f"bit {8 * n} flipped": content[:n] + bytes([content[n] ^ 1]) + content[n + 1 :] for n in range(100)}
    flipped["last bit flipped"] = content[:-1] + bytes([content[-1] ^ 128])
    cut = {f"cut to {n} bytes": content[:n] for n in (0, 1, 30, 60, 90, len(content) - 1)}
    return {**flipped, **cut, "longer": content + b"\0", "something else": b"\x7fELF" + CODE}


def test_damaged_files_are_not_found_and_replaced(folder: Path) -> None:
    CodeCache("this processor", folder).put(KEY, CODE)
    file = code_file(CodeCache("this processor", folder))
    good = file.read_bytes()
    for damage, content in damaged(good).items():
        file.write_bytes(content)
        assert CodeCache("this processor", folder).get(KEY) is None, damage
        assert not file.exists(), damage
    file.write_bytes(good[:-1])
    CodeCache("this processor", folder).put(KEY, CODE)
    assert CodeCache("this processor", folder).get(KEY) == CODE


def test_the_file_of_another_key(folder: Path) -> None:
    """As if the hashes in their names were the same."""
    cache = CodeCache("this processor", folder)
    cache.put("first", CODE)
    file = code_file(cache)
    content = file.read_bytes()
    cache.put("other", b"other code")
    file.write_bytes(next(path for path in file.parent.glob("other*")).read_bytes())
    assert cache.get("first") is None
    cache.put("first", CODE)
    assert file.read_bytes() == content
    assert cache.get("first") == CODE


@needs_owners
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
@pytest.mark.parametrize("level", ["directory", "identity", "file"])
def test_what_others_can_write_is_not_trusted(folder: Path, level: str, mode: int) -> None:
    cache = CodeCache("this processor", folder)
    cache.put(KEY, CODE)
    file = code_file(cache)
    {"directory": folder, "identity": file.parent, "file": file}[level].chmod(mode)
    for again in (cache, CodeCache("this processor", folder)):
        assert again.get(KEY) is None
        assert (again.location is None) == (level != "file")
    again.put(KEY, b"new")
    assert again.get(KEY) == b"new"
    expected = b"new" if level == "file" else None  # a file can be replaced, a folder is left alone
    assert CodeCache("this processor", folder).get(KEY) == expected
    cache.clear()
    assert file.exists() == (level != "file")


@needs_owners
@pytest.mark.parametrize("level", ["directory", "identity", "file"])
def test_what_belongs_to_another_user_is_not_trusted(folder: Path, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = CodeCache("this processor", folder)
    cache.put(KEY, CODE)
    file = code_file(cache)
    give_away({"directory": folder, "identity": file.parent, "file": file}[level], monkeypatch)
    assert cache.get(KEY) is None
    assert file.exists()


@needs_owners
def test_a_link_in_the_temporary_folder_is_not_followed(system: dict[str, Path], tmp_path: Path) -> None:
    system["user"].parents[1].write_text("no folder here")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    system["temp"].symlink_to(elsewhere)
    cache = CodeCache("this processor")
    cache.put(KEY, CODE)
    assert cache.location is None
    assert not list(elsewhere.iterdir())
    CodeCache("this processor", elsewhere).put(KEY, b"of somebody else")
    assert CodeCache("this processor").get(KEY) is None


@needs_owners
def test_a_link_that_the_user_chose_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large disk").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "large disk")
    monkeypatch.setenv("NPRESNET_CACHE_DIR", str(tmp_path / "link"))
    cache = CodeCache("this processor")
    cache.put(KEY, CODE)
    assert code_file(cache).parents[1] == tmp_path / "large disk"


# ----------------------------------------------------------------------------------------------------- broken disks


def only_in_memory(cache: CodeCache, again: CodeCache) -> None:
    cache.put(KEY, CODE)
    assert cache.location is None
    assert cache.get(KEY) == CODE
    assert again.get(KEY) is None
    cache.put(KEY, b"newer")
    assert cache.get(KEY) == b"newer"
    cache.clear()
    assert cache.get(KEY) is None


@pytest.mark.parametrize("level", ["parent", "directory", "identity"])
def test_a_file_in_place_of_a_folder(folder: Path, level: str) -> None:
    identity = CodeCache("this processor", folder).location
    assert identity is not None
    (identity / "identity.txt").unlink()
    for path in (identity, folder, folder.parent):
        path.rmdir()
    path = {"parent": folder.parent, "directory": folder, "identity": identity}[level]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text("precious")
    only_in_memory(CodeCache("this processor", folder), CodeCache("this processor", folder))
    assert path.read_text() == "precious"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["replace", "open", "mkdir"])
def test_a_disk_that_fails(folder: Path, call: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        raise OSError(code, os.strerror(code))

    if call != "mkdir":
        assert CodeCache("this processor", folder).location is not None  # so that it happens to the code
    monkeypatch.setattr(Path if call == "mkdir" else os, call, fail)
    cache = CodeCache("this processor", folder)
    cache.put("first", CODE)
    assert not [path for path in folder.rglob("*") if path.name != "identity.txt" and path.is_file()]
    only_in_memory(cache, CodeCache("this processor", folder))
    assert len(calls) == 1 or call == "mkdir"  # a folder where a write failed is not tried again


def test_a_file_that_cannot_be_touched_or_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = CodeCache("this processor", folder)
    cache.put(KEY, CODE)
    file = code_file(cache)
    os.utime(file, (0, 0))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", fail)
    assert cache.get(KEY) == CODE
    monkeypatch.setattr(Path, "unlink", fail)
    file.write_bytes(CODE)
    assert cache.get(KEY) is None
    cache.clear()
    assert file.exists()


def test_the_next_folder_takes_over(system: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def full(source: str, target: str) -> None:
        if system["user"] in Path(target).parents and Path(target).suffix == ".code":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    cache = CodeCache("this processor")
    assert cache.location is not None
    assert cache.location.parent == system["user"]
    cache.put(KEY, CODE)
    assert cache.location.parent == system["temp"]
    assert CodeCache("this processor").get(KEY) == CODE


# ---------------------------------------------------------------------------------------------------------- folders


def test_the_folders_of_the_system(system: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_directories() == [system["user"], system["temp"]]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_directories()[0] == tmp_path / ".cache" / "npresnet" / "engine"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_directories()[0] == tmp_path / "Library" / "Caches" / "npresnet" / "engine"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert default_directories() == [tmp_path / "Local" / "npresnet" / "engine", system["temp"]]
    monkeypatch.delenv("LOCALAPPDATA")
    assert default_directories() == [system["temp"]]


def test_no_home_and_no_temporary_folder(system: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for an unknown user

    def none_usable() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none_usable)
    assert default_directories() == []
    only_in_memory(CodeCache("this processor"), CodeCache("this processor"))


def test_the_users_folder_first_and_all_are_read(system: dict[str, Path]) -> None:
    CodeCache("this processor", system["temp"]).put(KEY, b"temporary")
    cache = CodeCache("this processor")
    assert cache.get(KEY) == b"temporary"
    cache.put("other", CODE)
    assert cache.get(KEY) == b"temporary"  # now the user's folder exists, without it
    cache.put(KEY, CODE)
    assert cache.location is not None
    assert cache.location.parent == system["user"]
    assert CodeCache("this processor").get(KEY) == CODE
    for file in cache.location.glob("*.code"):
        file.write_bytes(b"damaged")
    assert CodeCache("this processor").get(KEY) == b"temporary"
    cache.clear()
    assert not list(system["user"].iterdir())
    assert not list(system["temp"].iterdir())


def test_a_folder_from_the_environment_is_the_only_one(
    system: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CodeCache("this processor").put(KEY, CODE)
    monkeypatch.setenv("NPRESNET_CACHE_DIR", str(folder))
    assert default_directories() == [folder]
    cache = CodeCache("this processor")
    assert cache.get(KEY) is None
    cache.put(KEY, CODE)
    assert code_file(cache).parents[1] == folder
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    monkeypatch.setenv("NPRESNET_CACHE_DIR", os.path.join("~", "cache"))
    assert default_directories() == [folder]


def test_nothing_on_disk(system: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPRESNET_CACHE_DIR", "")
    monkeypatch.chdir(tmp_path)
    assert default_directories() == []
    only_in_memory(CodeCache("this processor"), CodeCache("this processor"))
    assert [path.name for path in tmp_path.rglob("*")] == ["temp"]


# ----------------------------------------------------------------------------------------------------------- old age


def used_days_ago(folder: Path, *ages: float) -> list[Path]:
    """Make the folders of as many identities, all before any of them grows old, and return them."""
    caches = [CodeCache(f"processor {age}", folder) for age in ages]
    for cache in caches:
        cache.put(KEY, CODE)
    found = [cache.location for cache in caches if cache.location is not None]
    for path, days in zip(found, ages, strict=True):
        for file in path.iterdir():
            os.utime(file, (time.time() - days * 86400,) * 2)
    return found


def test_a_get_says_that_the_file_is_in_use(folder: Path) -> None:
    for days, touched in ((0.5, False), (1.5, True)):
        used_days_ago(folder, days)
        cache = CodeCache(f"processor {days}", folder)
        before = code_file(cache).stat().st_mtime
        assert cache.get(KEY) == CODE
        assert (code_file(cache).stat().st_mtime > before + 3600) == touched


def test_stale_folders_go_when_a_new_one_comes(folder: Path) -> None:
    *olds, used = used_days_ago(folder, 1, 89, 91, 100, 400, 500)
    os.utime(next(used.glob("*.code")))  # its identity.txt stays old
    (folder / "0123456789abcdef").mkdir(mode=0o700)  # not ours: it says nothing about an identity
    foreign = folder / "mine"
    foreign.mkdir(mode=0o700)
    (foreign / "identity.txt").write_text("precious")
    os.utime(foreign / "identity.txt", (0, 0))
    CodeCache("processor 1", folder).put(KEY, CODE)  # an old one: nothing happens
    assert all(old.exists() for old in olds)
    new = CodeCache("new processor", folder).location
    assert set(folder.iterdir()) == {new, *olds[:2], used, folder / "0123456789abcdef", foreign}


def test_the_newest_three_stay_however_old(folder: Path) -> None:
    olds = used_days_ago(folder, 100, 200, 300, 400)
    cache = CodeCache("new processor", folder)
    cache.put(KEY, CODE)
    assert set(folder.iterdir()) == {cache.location, *olds[:2]}


def test_a_failing_clean_up_disturbs_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used_days_ago(folder, 100, 200, 300, 400)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    for name in ("unlink", "rmdir"):
        monkeypatch.setattr(Path, name, fail)
    cache = CodeCache("new processor", folder)
    cache.put(KEY, CODE)
    assert CodeCache("new processor", folder).get(KEY) == CODE
    assert len(list(folder.iterdir())) == 5


# -------------------------------------------------------------------------------------------------------- concurrency

ROUNDS = 150


def codes() -> list[bytes]:
    """Large enough to be written in several pieces if nobody takes care."""
    return [bytes([n]) * (300_000 + 50_000 * n) for n in range(3)]


def put_and_get(folder: Path, barrier: Any, which: int) -> None:
    valid = codes()
    barrier.wait(60)
    for _ in range(ROUNDS):
        cache = CodeCache("this processor", folder)
        cache.put(KEY, valid[which])
        assert cache.location is not None or os.name == "nt"  # Windows may refuse to replace a file being read
        assert CodeCache("this processor", folder).get(KEY) in valid


def test_processes_at_the_same_time(folder: Path) -> None:
    """Each sees a whole file at any time, its own or that of the other, and no remains are left."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    children = [context.Process(target=put_and_get, args=(folder, barrier, which)) for which in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    cache = CodeCache("this processor", folder)
    assert cache.get(KEY) in codes()[:2]
    assert {path.name for path in code_file(cache).parent.iterdir()} == {"identity.txt", code_file(cache).name}
    assert list(folder.iterdir()) == [cache.location]


def test_no_work_is_lost_when_the_folder_vanishes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may clear the cache between any two of our steps."""
    cache = CodeCache("this processor", folder)
    write = codecache._write

    def cleared(path: Path, content: bytes) -> None:
        if path.suffix == ".code":
            CodeCache("this processor", folder).clear()
        write(path, content)

    monkeypatch.setattr(codecache, "_write", cleared)
    cache.put(KEY, CODE)
    assert cache.get(KEY) == CODE
