"""What a student handed in: a Python file, a notebook, or a folder with one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .assignment import Assignment
from .notebook import NotebookError, definitions

LARGEST = 2 * 1024 * 1024
"""Bytes of a submission that are still read; a solution has about 20 KB, a notebook with its pictures some 100."""


class SubmissionError(ValueError):
    """What was handed in cannot be read as a submission."""


@dataclass(frozen=True)
class Submission:
    """Source text to be marked.

    Attributes
    ----------
    name : str
        Whose it is: the name of the file or of its folder.
    source : str
        Python text; of a notebook its definitions (see :mod:`~npresnet.grading.notebook`).
    filename : str
        As it appears in messages about lines.
    """

    name: str
    source: str
    filename: str


def read_submission(path: str | Path, assignment: Assignment | None = None) -> Submission:
    """Read a ``.py`` file, an ``.ipynb`` notebook, or the file of the assignment's name in a folder.

    Raises
    ------
    SubmissionError
        If there is no such file, several could be meant, it is too large, or not text.
    """
    assignment = assignment or Assignment()
    path = Path(path)
    file = _find(path, assignment.file) if path.is_dir() else path
    if not file.exists():
        raise SubmissionError(f"{path}: there is no such file; hand in {assignment.file} or the notebook")
    if file.suffix not in (".py", ".ipynb"):
        raise SubmissionError(
            f"{file.name}: a submission is a .py file or an .ipynb notebook, not {file.suffix or file.name}"
        )
    if file.stat().st_size > LARGEST:
        raise SubmissionError(f"{file.name} has {file.stat().st_size:,} bytes; submissions may have {LARGEST:,}")
    name = path.name if path.is_dir() else path.stem
    return submission_from_text(name, file.name, file.read_bytes())


def submission_from_text(name: str, filename: str, content: bytes) -> Submission:
    """A submission from the bytes of its file.

    Raises
    ------
    SubmissionError
        If they are not UTF-8 text, or not a notebook where the name says so.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{filename} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    if "\0" in text:
        raise SubmissionError(f"{filename} is not Python text: it contains null characters")
    if not filename.endswith(".ipynb"):
        return Submission(name, text, filename)
    try:
        return Submission(name, definitions(text), filename)
    except NotebookError as error:
        raise SubmissionError(f"{filename}: {error}") from error


def _find(folder: Path, file: str) -> Path:
    """The one file in a folder that can be meant: of the assignment's name, or else the only .py or .ipynb."""
    for wanted in (folder / file, (folder / file).with_suffix(".ipynb")):
        if wanted.is_file():
            return wanted
    candidates = sorted(p for p in folder.iterdir() if p.suffix in (".py", ".ipynb") and not p.name.startswith("."))
    if len(candidates) == 1:
        return candidates[0]
    found = ", ".join(p.name for p in candidates) or "no .py or .ipynb"
    raise SubmissionError(f"{folder}: expected {file} in this folder, found {found}")
