"""The generated files of tutorials/coursework: run this file to write them anew."""

from __future__ import annotations

from pathlib import Path

from npresnet.grading.assignment import Assignment
from npresnet.grading.handout import student_files

FOLDER = Path(__file__).parents[1] / "tutorials" / "coursework"


def generated() -> dict[str, str]:
    """Their content, by name: what students get of the whole coursework, but for the README."""
    files = student_files(Assignment())
    del files["README.md"]
    return files


def main() -> None:
    """Write them."""
    for name, content in generated().items():
        (FOLDER / name).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
