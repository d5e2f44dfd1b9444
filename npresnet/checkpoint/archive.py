"""A zip file as checked, read-only records: the container of PyTorch (since 1.6) and of ``.npz``.

The central directory is read here rather than by :mod:`zipfile`, because that module accepts what a hostile file
uses: duplicate names, overlapping records, headers that disagree, millions of entries. Everything is checked before
anything is read, and records that are stored uncompressed are never copied.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import CheckpointError
from .limits import check_expansion, check_members
from .mapped import release, take, unpack

_LOCAL, _CENTRAL, _END, _END64, _LOCATOR64 = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED_OR_PATCHED = 0x2061  # flag bits 0, 5, 6 and 13
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the zip64 field"
# NUL and backslash; a drive; parts that are empty (as of an absolute path), "." or ".."
_UNSAFE_NAME = re.compile(r"[\0\\]|^[A-Za-z]:|(^|/)\.{0,2}(/|$)")


@dataclass(frozen=True)
class _Record:
    method: int
    crc: int
    start: int  # of the data, in the file
    packed: int  # bytes in the file
    size: int  # bytes once unpacked


class ZipRecords:
    """The records of a zip file by name.

    Parameters
    ----------
    data : memoryview
        The whole file.

    Raises
    ------
    CheckpointError
        If the directory is damaged or hostile: duplicate, absolute or ``..`` names, overlapping or encrypted records,
        local headers that disagree, too many records or too large an expansion.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._records: dict[str, _Record] = {}
        directory, end, count = self._find_directory()
        check_members("records", count)
        for name, record in self._entries(directory, end, count):
            if name in self._records:
                raise CheckpointError(f"the archive holds {name!r} twice")
            self._records[name] = record
        spans = sorted((r.start, r.start + r.packed) for r in self._records.values())
        ends = [0, *(stop for _, stop in spans)]
        if any(start < previous for (start, _), previous in zip(spans, ends, strict=False)):
            raise CheckpointError("records of the archive overlap; the file is forged")
        check_expansion("the records", sum(r.size for r in self._records.values()), len(self.data))

    @property
    def names(self) -> list[str]:
        """Names in the order of the directory."""
        return list(self._records)

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def crc(self, name: str) -> int:
        """Checksum that the directory states."""
        return self._records[name].crc

    def read(self, name: str, check_crc: bool = True) -> memoryview:
        """Return the bytes of a record, without a copy if it is stored uncompressed."""
        if name not in self._records:
            raise CheckpointError(f"the archive has no record {name!r}; it holds {', '.join(self.names[:8])}, ...")
        record = self._records[name]
        content = self.data[record.start : record.start + record.packed]
        if record.method == _DEFLATED:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            content = memoryview(inflater.decompress(content, record.size + 1))  # one more byte shows a forged size
        if len(content) != record.size:
            raise CheckpointError(f"record {name!r} unpacks to {len(content):,} bytes, not {record.size:,} as stated")
        if check_crc:
            if zlib.crc32(content) != record.crc:
                raise CheckpointError(
                    f"record {name!r} fails its checksum: the file is damaged; download or copy it again"
                )
            release(content)
        return content

    def _find_directory(self) -> tuple[int, int, int]:
        """Return where the central directory starts and ends, and its number of entries."""
        tail = max(0, len(self.data) - 22 - _FULL16)
        end = tail + bytes(self.data[tail:]).rfind(_END)
        if end < tail:
            raise CheckpointError("the zip archive has no directory at its end; the file is cut short")
        disk, _, here, count, size, start, comment = unpack("<4H2IH", self.data, end + 4, "the end of the zip")
        stop = end
        if end >= 20 and bytes(self.data[end - 20 : end - 16]) == _LOCATOR64:
            _, position, _ = unpack("<IQI", self.data, end - 16, "the zip64 locator")
            if bytes(take(self.data, position, 4, "the zip64 directory end")) != _END64:
                raise CheckpointError("the zip64 locator points nowhere; the file is damaged")
            disk, _, here, count, size, start = unpack("<2I4Q", self.data, position + 16, "the zip64 directory end")
            stop = position
        if disk or here != count or start + size != stop or end + 22 + comment != len(self.data):
            raise CheckpointError("the end of the zip archive contradicts its directory; the file is damaged or forged")
        return start, stop, count

    def _entries(self, position: int, end: int, count: int) -> Iterator[tuple[str, _Record]]:
        directory = position
        for _ in range(count):
            if bytes(take(self.data, position, 4, "the zip directory")) != _CENTRAL:
                raise CheckpointError("the zip directory is damaged")
            entry = unpack("<6H3I5H2I", self.data, position + 4, "the zip directory")
            _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment_size, *_, offset = entry
            name_at = position + 46
            raw_name = bytes(take(self.data, name_at, name_size, "the zip directory"))
            extra = take(self.data, name_at + name_size, extra_size, "the zip directory")
            size, packed, offset = _zip64(extra, size, packed, offset)
            position = name_at + name_size + extra_size + comment_size
            name = raw_name.decode("utf-8")
            if name.endswith("/") and size == 0:
                continue  # a folder
            if _UNSAFE_NAME.search(name):
                raise CheckpointError(f"the archive holds the unsafe name {name!r}")
            if flags & _ENCRYPTED_OR_PATCHED or method not in (_STORED, _DEFLATED):
                raise CheckpointError(f"record {name!r} is encrypted or compressed with method {method}; re-save it")
            if method == _STORED and packed != size:
                raise CheckpointError(f"record {name!r} states two sizes, {packed:,} and {size:,}")
            start = self._data_start(offset, name, raw_name, method)
            if start + packed > directory:
                raise CheckpointError(f"record {name!r} claims {packed:,} bytes that the file does not hold")
            yield name, _Record(method, crc, start, packed, size)
        if position != end:
            raise CheckpointError("the zip directory does not hold the number of records that it states")

    def _data_start(self, offset: int, name: str, raw_name: bytes, method: int) -> int:
        """Follow the local header to the data; both headers must speak of the same record."""
        header = unpack("<5H3I2H", self.data, offset + 4, f"record {name!r}")
        name_size, extra_size = header[-2:]
        local_name = bytes(take(self.data, offset + 30, name_size, f"record {name!r}"))
        if bytes(self.data[offset : offset + 4]) != _LOCAL or local_name != raw_name or header[2] != method:
            raise CheckpointError(f"the two headers of record {name!r} disagree; the file is damaged or forged")
        return offset + 30 + name_size + extra_size


def _zip64(extra: memoryview, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Replace the saturated numbers by those of the zip64 extra field, which lists them in this order."""
    numbers = [size, packed, offset]
    wanted = [i for i, number in enumerate(numbers) if number == _FULL32]
    position = 0
    while wanted and position < len(extra):
        kind, length = unpack("<2H", extra, position, "a zip extra field")
        if kind == 1:
            found = unpack(f"<{len(wanted)}Q", extra, position + 4, "a zip64 field")
            for i, number in zip(wanted, found, strict=True):
                numbers[i] = number
            wanted = []
        position += 4 + length
    return numbers[0], numbers[1], numbers[2]
