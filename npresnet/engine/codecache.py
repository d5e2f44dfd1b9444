"""Keep generated machine code on disk, so that the next process need not generate it again.

What is read here gets executed. So nothing is trusted that another user could have written: folders and files must
belong to this user or to root, and only their owner may write to them. Every file carries its key and a checksum.
A cache is a convenience: where nothing can be written, it lasts as long as the process, and no error is raised.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

CACHE_DIR = "NPRESNET_CACHE_DIR"
"""Environment variable: keep the code in this folder only; set but empty, keep nothing on disk."""

DAY = 86400.0  # seconds
STALE = 90 * DAY  # without use
KEPT = 3  # folders that stay however old they are

_MAGIC = b"npresnet machine code 1\n"
_DIGEST = hashlib.sha256().digest_size
_IDENTITY_FILE = "identity.txt"
_FOLDER_DIGITS = 16


class CodeCache:
    """Machine code by key, in a folder that belongs to one processor and one version of the generator.

    Objects of several threads and processes may share a folder. No method raises ``OSError``.

    Parameters
    ----------
    identity : str
        Everything the code depends on besides its key: processor and features, versions, source of the generator.
        Another identity has another folder.
    directory : Path, optional
        The folder that holds the identities' folders; by default the first of :func:`default_directories` that can
        be written, and all of them are read.

    Examples
    --------
    >>> cache = CodeCache("skylake avx2 llvm 15", Path("cache"))  # doctest: +SKIP
    >>> cache.put("conv 3x3", b"...")  # doctest: +SKIP
    >>> cache.get("conv 3x3")  # doctest: +SKIP
    b'...'
    """

    def __init__(self, identity: str, directory: Path | None = None) -> None:
        name = hashlib.sha256(_utf8(identity)).hexdigest()[:_FOLDER_DIGITS]
        directories = default_directories() if directory is None else [_resolved(directory)]
        self.identity = identity
        self._folders = [directory / name for directory in directories]
        self._writable = list(self._folders)  # those where no write has failed so far
        self._memory: dict[str, bytes] = {}  # what could not be written

    @property
    def location(self) -> Path | None:
        """The folder that ``put`` writes to, made if need be; None if no folder can be written or trusted."""
        for folder in self._writable:
            if self._prepare(folder):
                return folder
        return None

    def get(self, key: str) -> bytes | None:
        """Return the code kept for ``key``, or None if there is none or it is not what was put there."""
        if key in self._memory:
            return self._memory[key]
        for folder in self._folders:
            if _is_private_folder(folder.parent) and _is_private_folder(folder):
                with contextlib.suppress(OSError):
                    code = _read(folder / _file_name(key), key)
                    if code is not None:
                        return code
        return None

    def put(self, key: str, code: bytes) -> None:
        """Keep ``code`` for ``key``, in place of what was there."""
        while (folder := self.location) is not None:
            try:
                _write(folder / _file_name(key), _header(key) + hashlib.sha256(code).digest() + code)
            except OSError:
                self._writable = [other for other in self._writable if other != folder]
            else:
                self._memory.pop(key, None)
                return
        self._memory[key] = code

    def clear(self) -> None:
        """Delete this identity's folder wherever it is, as far as the system allows it."""
        self._memory.clear()
        for folder in self._folders:
            if _is_private_folder(folder.parent) and _is_private_folder(folder):
                _remove(folder)

    def _prepare(self, folder: Path) -> bool:
        """Make the folder unless it exists, and return whether it can be trusted and written."""
        try:
            for level in (folder.parent, folder):
                _make_private(level)
                if not _is_private_folder(level):
                    return False
            if not (folder / _IDENTITY_FILE).exists():
                _write(folder / _IDENTITY_FILE, _utf8(self.identity) + b"\n")
                _remove_stale(folder.parent)
            return os.access(folder, os.W_OK)
        except OSError:
            return False


def default_directories() -> list[Path]:
    """Return where code may be kept, best first: ``NPRESNET_CACHE_DIR`` alone, or the user's and a temporary folder.

    The list is empty if ``NPRESNET_CACHE_DIR`` is. The folders need not exist.
    """
    chosen = os.environ.get(CACHE_DIR)
    if chosen is not None:
        return [_resolved(Path(os.path.expanduser(chosen)))] if chosen else []
    directories = []
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")  # a relative one is to be ignored
    if os.path.isabs(base):  # it is not where the system knows no home
        directories.append(_resolved(Path(base, "npresnet", "engine")))
    with contextlib.suppress(OSError):  # there may be no temporary folder either
        # Not resolved: a link of this name in a folder that all can write to is somebody else's idea.
        user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
        directories.append(Path(tempfile.gettempdir(), f"npresnet{user}"))
    return directories


def _resolved(path: Path) -> Path:
    """Follow the links that the user has made, now: later on a link in place of the folder is not accepted."""
    try:
        return Path(os.path.realpath(path))
    except OSError:  # a relative path in a current directory that is gone
        return path


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _file_name(key: str) -> str:
    readable = "".join(c if c.isascii() and c.isalnum() else "_" for c in key[:40])
    return f"{readable}-{hashlib.sha256(_utf8(key)).hexdigest()[:16]}.code"


def _header(key: str) -> bytes:
    """The start of a file: what it is, the length of the key, the key. SHA-256 of the code and the code follow."""
    return _MAGIC + len(_utf8(key)).to_bytes(4, "little") + _utf8(key)


def _is_private(status: os.stat_result) -> bool:
    """Whether nobody but this user and root can have written this file or into this folder."""
    if not hasattr(os, "getuid"):  # Windows keeps other users out of one's folders by itself
        return True
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_private_folder(path: Path) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_private(status)


def _make_private(folder: Path) -> None:
    """Make a folder, and those above it, that only this user can enter."""
    if folder.is_dir() or folder == folder.parent:
        return
    _make_private(folder.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster
        folder.mkdir(mode=0o700)


def _read(path: Path, key: str) -> bytes | None:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())  # of the file that is open, whatever becomes of its name
        if not _is_private(status):
            return None
        content = file.read()
    header = _header(key)
    digest, code = content[len(header) : len(header) + _DIGEST], content[len(header) + _DIGEST :]
    if not content.startswith(header) or hashlib.sha256(code).digest() != digest:
        path.unlink()
        return None
    if time.time() - status.st_mtime > DAY:
        with contextlib.suppress(OSError):
            os.utime(path)  # in use: see _remove_stale
    return code


def _write(path: Path, content: bytes) -> None:
    """Write a file that other processes see complete or not at all."""
    temporary = path.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _remove_stale(directory: Path) -> None:
    """Delete the folders of identities that were not used for long: processors and versions of the past."""
    now = time.time()
    with contextlib.suppress(OSError):
        last_use = {
            folder: max((file.stat().st_mtime for file in folder.iterdir()), default=now)  # empty: being cleared
            for folder in directory.iterdir()
            if _is_identity(folder)
        }
        for folder in sorted(last_use, key=lambda folder: last_use[folder], reverse=True)[KEPT:]:
            if now - last_use[folder] > STALE:
                _remove(folder)


def _is_identity(folder: Path) -> bool:
    """Whether a folder is one of ours; the user's choice of a cache directory may hold other things."""
    ours = len(folder.name) == _FOLDER_DIGITS and set(folder.name) <= set("0123456789abcdef")
    return ours and _is_private_folder(folder) and (folder / _IDENTITY_FILE).is_file()


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
