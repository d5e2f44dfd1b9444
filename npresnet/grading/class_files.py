"""Which files of a class are submissions, and whose: as people collect them, and as Moodle and Canvas export them.

=====================================================  ==============================================
``ann.py``, ``ann.ipynb``, ``ann.zip``                 a file for every student
``ann/resnet_layers.py``, ``ann/work.ipynb``           a folder for every student
``Ann Lee_123_assignsubmission_file_/...``             Moodle
``leeann_LATE_123_456_resnet_layers.py``               Canvas
``export.zip`` with any of these but further archives  an export that was not unpacked
=====================================================  ==============================================

Nothing is unpacked to the disk, and nothing followed out of the folder. Every file is accounted for: it is a
submission, a submission that cannot be read (with the reason), or none.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .assignment import Assignment
from .submission import LARGEST, SubmissionError

MOST_FILES = 50_000
"""In a folder or an archive; a class of 1,000 with notebooks and pictures has fewer."""

DEEPEST = 8
"""Folders within folders that are looked into."""

MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_.*")
CANVAS = re.compile(r"(?P<name>.+?)(?:_LATE)?_(?P<id>\d+)_\d+_(?P<file>.+)")


@dataclass(frozen=True)
class Found:
    """What a student handed in.

    Attributes
    ----------
    student : str
        As the name of the file or folder says.
    label : str
        Where it is, for people.
    filename : str
        ``resnet_layers.py``; its ending tells a notebook from a module.
    path : Path
        A file on disk: the submission or the archive that it is in.
    member : str or None
        Its name in the archive.
    problem : str
        Why it cannot be graded, if so.
    """

    student: str
    label: str
    filename: str
    path: Path
    member: str | None = None
    problem: str = ""

    def read(self) -> bytes:
        """The content.

        Raises
        ------
        SubmissionError
            If there is a problem, it is too large, or it cannot be read.
        """
        if self.problem:
            raise SubmissionError(self.problem)
        try:
            content = _read_member(self.path, self.member) if self.member is not None else _read_file(self.path)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # also of a wrong method
            raise SubmissionError(f"{self.label} cannot be read: {error}") from None
        if len(content) > LARGEST:
            raise SubmissionError(f"{self.label} has more than {LARGEST:,} bytes, the most that a submission may have")
        return content


class Stranger(NamedTuple):
    """A file that is no submission, and why."""

    label: str
    why: str


class ClassFiles(NamedTuple):
    """All files of a class."""

    submissions: list[Found]
    strangers: list[Stranger]


class _Entry(NamedTuple):
    """A file of a folder or an archive."""

    parts: tuple[str, ...]  # below the folder that is looked at
    label: str
    path: Path
    member: str | None
    problem: str


def find_submissions(
    folder: str | os.PathLike[str], assignment: Assignment, *, ignore: Iterable[str | os.PathLike[str]] = ()
) -> ClassFiles:
    """Find the submissions of a class.

    Parameters
    ----------
    folder : path
        A folder with the submissions, or the archive that Moodle or Canvas made of them.
    assignment : Assignment
        Its ``file`` is looked for first in the folder of a student.
    ignore : iterable of path
        Files and folders that are not looked at, such as the results of an earlier grading.

    Returns
    -------
    ClassFiles
        Submissions sorted by student, also those that cannot be read; and all other files.

    Raises
    ------
    ValueError
        If there are too many files.
    OSError
        If the folder cannot be read.
    """
    root = Path(folder)
    if root.is_file():
        entries = _archive(root, root.name)
    else:
        entries = list(_folder(root, {os.path.realpath(path) for path in ignore}))
    found, strangers = _of_a_class(entries, assignment.file)
    return ClassFiles(sorted(_unique(found), key=lambda one: one.student.casefold()), sorted(strangers))


def _folder(root: Path, ignored: set[str]) -> Iterator[_Entry]:
    """The files of a folder; links are named, not followed."""
    waiting: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    count = 0
    while waiting:
        folder, above = waiting.pop()
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            parts, path = (*above, entry.name), Path(entry.path)
            if os.path.realpath(entry.path) in ignored:
                continue
            count += 1
            if count > MOST_FILES:
                raise ValueError(f"{root} holds more than {MOST_FILES:,} files; give the folder of one class")
            problem = ""
            if entry.is_symlink():
                problem = "a symbolic link, which is not followed; put the file itself there"
            elif entry.is_dir():
                if len(parts) < DEEPEST:
                    waiting.append((path, parts))
                    continue
                problem = f"below {DEEPEST} folders"
            elif not entry.is_file():
                problem = "not an ordinary file"
            yield _Entry(parts, "/".join(parts), path, None, problem)


def _archive(path: Path, label: str) -> list[_Entry]:
    """The files of an archive, with the reason where one is not to be read.

    Raises
    ------
    SubmissionError
        If it is no archive, or one of absurd size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise SubmissionError(f"{label} is not a readable zip archive: {error}") from None
    if len(members) > MOST_FILES:
        raise SubmissionError(f"{label} holds {len(members):,} files; more than {MOST_FILES:,} are refused")
    entries = []
    for member in members:
        if member.is_dir():
            continue
        name = member.filename.replace("\\", "/")
        parts = tuple(part for part in PurePosixPath(name).parts if part != ".")
        problem = ""
        if not parts or parts[0].startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", parts[0]):
            problem = "its path leads out of the archive"
        elif stat.S_ISLNK(member.external_attr >> 16):
            problem = "a symbolic link, which is not followed; put the file itself there"
        elif member.flag_bits & 1:
            problem = "encrypted with a password"
        elif member.file_size > LARGEST and name.lower().endswith((".py", ".ipynb")):
            problem = f"{member.file_size:,} bytes, more than the {LARGEST:,} that a submission may have"
        entries.append(_Entry(parts, f"{label}/{name}", path, member.filename, problem))
    return entries


def _of_a_class(entries: Sequence[_Entry], file: str) -> tuple[list[Found], list[Stranger]]:
    """Share files out to students: those at the top by their names, the others by their folders."""
    found: list[Found] = []
    strangers: list[Stranger] = []
    folders: dict[str, list[_Entry]] = {}
    for entry in entries:
        if _of_the_system(entry):
            strangers.append(Stranger(entry.label, "a file of the system or of a tool"))
        elif len(entry.parts) > 1 and ".." not in entry.parts:
            folders.setdefault(entry.parts[0], []).append(entry._replace(parts=entry.parts[1:]))
        elif _is_source(entry):
            found.append(_as_found(_student_of_file(entry.parts[-1]), entry))
        elif _is_archive(entry):
            more, others = _of_an_archive(entry, file)
            found += more
            strangers += others
        else:
            strangers.append(Stranger(entry.label, entry.problem or "not a .py, .ipynb or .zip file"))
    for name, members in folders.items():
        one, beside = _of_a_student(_student_of_folder(name), name, members, file)
        found.append(one)
        strangers += beside
    return found, strangers


def _of_an_archive(entry: _Entry, file: str) -> tuple[list[Found], list[Stranger]]:
    """An archive beside others: what one student handed in, or the export of a class."""
    student = _student_of_file(entry.parts[-1])
    if entry.member is not None or entry.problem:
        problem = entry.problem or "an archive within an archive; unpack the outer one first"
        return [_as_found(student, entry._replace(problem=problem))], []
    try:
        members = _archive(entry.path, entry.label)
    except SubmissionError as error:
        return [_as_found(student, entry._replace(problem=str(error)))], []
    if not members:
        return [_as_found(student, entry._replace(problem=f"{entry.label} is empty"))], []
    if _is_an_export(members, file):
        return _of_a_class(_below_one_folder(members), file)
    found, strangers = _of_a_student(student, entry.label, members, file)
    return [found], strangers


def _is_an_export(members: Sequence[_Entry], file: str) -> bool:
    """Whether an archive holds several students: names that Moodle or Canvas give, or more than one submission."""
    sources = [m for m in members if (_is_source(m) or _is_archive(m)) and not _of_the_system(m)]
    if any(MOODLE.fullmatch(part) for m in sources for part in m.parts[:-1]):
        return True
    if any(CANVAS.fullmatch(PurePosixPath(m.parts[-1]).stem) for m in sources):
        return True
    named = [m for m in sources if m.parts[-1] in _names(file)]
    return len(named) > 1 or (not named and len(sources) > 1)


def _below_one_folder(entries: Sequence[_Entry]) -> list[_Entry]:
    """Without the folder that everything is in, as when somebody packed the folder of a class."""
    ours = [entry for entry in entries if not _of_the_system(entry)]
    tops = {entry.parts[0] for entry in ours}
    if len(tops) == 1 and all(len(entry.parts) > 1 for entry in ours) and not MOODLE.fullmatch(next(iter(tops))):
        return [e if _of_the_system(e) else e._replace(parts=e.parts[1:]) for e in entries]
    return list(entries)


def _of_a_student(student: str, label: str, entries: Sequence[_Entry], file: str) -> tuple[Found, list[Stranger]]:
    """The one submission among the files of a student; the others are strangers."""
    ours = [entry for entry in entries if not _of_the_system(entry)]
    strangers = [Stranger(e.label, "a file of the system or of a tool") for e in entries if _of_the_system(e)]
    sources = sorted((e for e in ours if _is_source(e)), key=lambda e: (len(e.parts), e.parts))
    archives = [e for e in ours if _is_archive(e)]
    chosen = [e for name in _names(file) for e in sources if e.parts[-1] == name][:1]
    if not chosen and len(sources) == 1:
        chosen = sources
    if not chosen and not sources and len(archives) == 1 and archives[0].member is None and not archives[0].problem:
        strangers += [Stranger(e.label, "not a .py, .ipynb or .zip file") for e in ours if e is not archives[0]]
        return _of_one_archive(student, archives[0], strangers, file)
    if not chosen:
        if sources:
            names = ", ".join("/".join(e.parts) for e in sources[:5])
            problem = f"{label}: several files could be the submission ({names}); expected {file}"
        else:
            seen = ", ".join("/".join(e.parts) for e in ours[:5]) or "nothing"
            problem = f"{label}: expected {file} or a notebook, found {seen}"
        return Found(student, label, file, (ours or entries)[0].path, None, problem), strangers
    strangers += [Stranger(e.label, f"beside {chosen[0].parts[-1]}") for e in ours if e is not chosen[0]]
    return _as_found(student, chosen[0]), strangers


def _of_one_archive(student: str, entry: _Entry, strangers: list[Stranger], file: str) -> tuple[Found, list[Stranger]]:
    """An archive in the folder of a student."""
    try:
        members = _archive(entry.path, entry.label)
    except SubmissionError as error:
        return _as_found(student, entry._replace(problem=str(error))), strangers
    if not members:
        return _as_found(student, entry._replace(problem=f"{entry.label} is empty")), strangers
    found, others = _of_a_student(student, entry.label, members, file)
    return found, strangers + others


def _as_found(student: str, entry: _Entry) -> Found:
    name = PurePosixPath(entry.parts[-1])
    problem = f"{entry.label}: {entry.problem}" if entry.problem and entry.label not in entry.problem else entry.problem
    return Found(student, entry.label, name.stem + name.suffix.lower(), entry.path, entry.member, problem)


def _names(file: str) -> tuple[str, str]:
    return file, f"{PurePosixPath(file).stem}.ipynb"


def _student_of_file(name: str) -> str:
    stem = PurePosixPath(name).stem
    match = CANVAS.fullmatch(stem)
    return match["name"] if match else stem


def _student_of_folder(name: str) -> str:
    match = MOODLE.fullmatch(name)
    return match["name"] if match else name


def _unique(found: Sequence[Found]) -> list[Found]:
    """Two submissions of one name stay two: the place is added to the name."""
    names = [one.student for one in found]
    return [
        replace(one, student=f"{one.student} ({one.label})") if names.count(one.student) > 1 else one for one in found
    ]


def _is_source(entry: _Entry) -> bool:
    return entry.parts[-1:] != () and entry.parts[-1].lower().endswith((".py", ".ipynb"))


def _is_archive(entry: _Entry) -> bool:
    return entry.parts[-1:] != () and entry.parts[-1].lower().endswith(".zip")


def _of_the_system(entry: _Entry) -> bool:
    return any(part.startswith(".") and part != ".." for part in entry.parts) or any(
        part in ("__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini") for part in entry.parts
    )


def _read_file(path: Path) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:  # not a link that was put there in the meantime
        return file.read(LARGEST + 1)


def _read_member(path: Path, member: str) -> bytes:
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        return file.read(LARGEST + 1)  # whatever size the archive claims
