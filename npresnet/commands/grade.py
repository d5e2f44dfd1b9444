"""``npresnet grade``: mark one submission, or a class."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.commands import positive

if TYPE_CHECKING:
    from npresnet.grading.assignment import Assignment
    from npresnet.grading.marks import Report

EPILOG = """\
examples:
  npresnet grade resnet_layers.py                   all tasks of the assignment beside it
  npresnet grade resnet_layers.py --task 2          BatchNorm alone
  npresnet grade ann.ipynb --assignment teacher/coursework.toml --html ann.html
  npresnet grade submissions/ --assignment teacher/ --csv marks.csv --feedback feedback/
  npresnet grade submissions/ --similarity --csv pairs.csv

A submission is a .py file, a notebook, or a folder with one of them. With --csv, PATH is a folder with one submission
for each student; what is marked is kept in a folder beside the CSV file, and a second call goes on from there.

Without --assignment, the coursework.toml beside the submission is used, or else all tasks. A submission runs in
processes without network, with limits, and on Linux without access to other files; tutorials/coursework/README.md says
what that protects against and what not.
"""

REPORTS = ("html", "markdown", "gradescope", "junit", "json")


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "grade",
        help="mark coursework, with an explanation of every mistake",
        description="Mark a submission of the coursework (npresnet coursework), or those of a class.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="a submission, or with --csv or --similarity a folder of them")
    parser.add_argument("--assignment", metavar="FILE", help="the teacher's coursework.toml, or its folder")
    parser.add_argument("--task", action="append", metavar="N", help="only these, such as 1.3, 2 or 1.1-1.4")
    parser.add_argument("--public", action="store_true", help="only the public cases, as students run them")
    parser.add_argument("--student", action="store_true", help="show what the student is shown")
    parser.add_argument("--jobs", type=positive, metavar="N", help="processes at a time (default: one a core)")
    parser.add_argument("--fail-under", type=float, metavar="PERCENT", help="exit status 1 below this mark")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    reports = parser.add_argument_group("reports of one submission, as the student may see them")
    for name in REPORTS:
        reports.add_argument(f"--{name}", metavar="FILE", help=f"write a {_NAMES[name]}")
    several = parser.add_argument_group("a class")
    several.add_argument("--csv", metavar="FILE", help="mark every submission in PATH and write a table")
    several.add_argument("--feedback", metavar="DIR", help="a page for every student")
    several.add_argument("--plot", metavar="FILE", help="a picture of the marks and the commonest mistakes")
    several.add_argument("--again", action="store_true", help="mark everything anew, also what did not change")
    several.add_argument(
        "--similarity", action="store_true", help="list pairs that are suspiciously alike; mark nothing"
    )
    parser.set_defaults(run=run)


_NAMES = {
    "html": "page",
    "markdown": "Markdown file",
    "gradescope": "results.json for Gradescope",
    "junit": "JUnit XML file",
    "json": "JSON file",
}


def run(args: argparse.Namespace) -> int:
    """Mark, print, and write files."""
    path = Path(args.path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder to grade")
    assignment = find_assignment(path, args)
    if args.similarity:
        from npresnet.grading import similarity_report

        return similarity_report.run(path, assignment, csv=args.csv)
    if args.csv is not None:
        return _grade_class(path, assignment, args)
    return _grade_one(path, assignment, args)


def find_assignment(path: Path, args: argparse.Namespace) -> Assignment:
    """The assignment that is named, or the one beside the submission, or all tasks."""
    from npresnet.grading.assignment import Assignment
    from npresnet.grading.assignment_file import FILE, read_assignment

    beside = (path if path.is_dir() else path.parent) / FILE
    if args.assignment is not None:
        assignment = read_assignment(args.assignment)
    elif beside.is_file():
        assignment = read_assignment(beside)
    else:
        assignment = Assignment(feedback="full")  # nothing is secret: the seed of its hidden cases is known
    if args.task:
        assignment = assignment.restricted(tuple(task for text in args.task for task in text.split(",") if task))
    if args.public:
        assignment = assignment.replace(hidden_share=0.0)
    return assignment


def _grade_one(path: Path, assignment: Assignment, args: argparse.Namespace) -> int:
    from npresnet.grading.marking import mark
    from npresnet.grading.report import render, write_report
    from npresnet.grading.submission import read_submission
    from npresnet.kernels.parallel import num_threads

    files = {name: getattr(args, name) for name in REPORTS if getattr(args, name) is not None}
    for name, file in files.items():
        if not Path(file).parent.is_dir():
            raise FileNotFoundError(f"--{name} {file}: there is no folder {Path(file).parent}")
    submission = read_submission(path, assignment)
    unfinished = files.get("gradescope")  # which stops what takes too long: leave there what is known by then
    with progress(len(assignment.parts()), quiet=args.quiet) as advance:

        def show(report: Report) -> None:
            if advance is not None:
                advance(report.parts[-1].name)
            if unfinished is not None:
                write_report(report, unfinished, "gradescope")

        report = mark(submission, assignment, jobs=args.jobs or num_threads(), progress=show)
    shown = report if args.student else _complete(report)
    print(render(shown, "terminal"), end="")
    for name, file in files.items():
        write_report(report, file, name)
    percent = 100 * report.points / report.max_points if report.max_points else 0.0
    return int(args.fail_under is not None and percent < args.fail_under)


def _grade_class(path: Path, assignment: Assignment, args: argparse.Namespace) -> int:
    from npresnet.grading.classroom import grade_class
    from npresnet.kernels.parallel import num_threads

    if not path.is_dir() and path.suffix != ".zip":
        raise NotADirectoryError(f"{path} is one submission; --csv grades a folder or .zip with one for each student")
    return grade_class(
        path,
        assignment,
        csv=args.csv,
        jobs=args.jobs or num_threads(),
        resume=not args.again,
        feedback=args.feedback,
        plot=args.plot,
        quiet=args.quiet,
    )


def _complete(report: Report) -> Report:
    """The same with everything that is known of hidden cases: whoever grades may see it."""
    import dataclasses

    return dataclasses.replace(report, feedback="full")


@contextlib.contextmanager
def progress(parts: int, *, quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """A bar on a terminal, with the function that was marked last."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("grading", total=parts)
        yield lambda name: bar.update(task, advance=1, description=name)
