"""``npresnet coursework``: hand out what ``npresnet grade`` marks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from npresnet.grading.assignment import Assignment

EPILOG = """\
examples:
  npresnet coursework tasks                         what can be set, and what is tested
  npresnet coursework new ps1                       all tasks: ps1/student to hand out, ps1/teacher to keep
  npresnet coursework new ps1 --task 1.1-1.4,2 --points conv2d_backward=12 --lang zh
  npresnet coursework new ps2 --from ps1/teacher/coursework.toml --task 3-5
  npresnet coursework gradescope ps1/teacher -o autograder.zip
  npresnet coursework otter ps1/teacher -o otter/
  npresnet coursework nbgrader ps1/teacher -o source/ps1/resnet_layers.ipynb

Then: npresnet grade FILE --assignment ps1/teacher
"""


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "coursework",
        help="make stubs, tests and autograders for students",
        description="Make coursework: ResNet, function by function, to be written by students.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_new(actions)
    _add_tasks(actions)
    exports = {
        "gradescope": ("an autograder archive for Gradescope", "autograder.zip", export_gradescope),
        "otter": ("test files for Otter-Grader", "otter", export_otter),
        "nbgrader": ("a source notebook for nbgrader", "resnet_layers.ipynb", export_nbgrader),
    }
    for name, (text, output, function) in exports.items():
        action = actions.add_parser(name, help=text, description=f"Write {text}.")
        action.add_argument("assignment", metavar="FILE", help="the teacher's coursework.toml, or its folder")
        action.add_argument("-o", "--output", metavar="PATH", default=output, help=f"where to (default: {output})")
        if name == "gradescope":
            action.add_argument("--minutes", type=float, default=10, metavar="N", help="Gradescope's time limit (10)")
        action.set_defaults(run=function)


def _add_new(actions: Any) -> None:
    parser = actions.add_parser(
        "new",
        help="a folder with everything to hand out and to keep",
        description="Write DIR/student (stubs, notebook, public tests, README) and DIR/teacher (seed, solution).",
    )
    parser.add_argument("directory", metavar="DIR", help="a new folder")
    parser.add_argument("--from", dest="base", metavar="FILE", help="an assignment to start from (coursework.toml)")
    parser.add_argument("--task", metavar="N", action="append", help="1.1, 2 (all of 2), 1.1-1.4; several with commas")
    parser.add_argument(
        "--points", metavar="NAME=N", action="append", default=[], help="points of a function; may be repeated"
    )
    parser.add_argument("--total", type=float, metavar="N", help="scale all points to this sum")
    parser.add_argument("--hidden-share", type=float, metavar="X", help="part of the points for hidden cases (0.5)")
    parser.add_argument("--lang", metavar="LANG", help="en or zh")
    parser.add_argument("--seed", type=int, metavar="N", help="of the hidden cases (default: a random one)")
    parser.add_argument("--title", metavar="TEXT", help="of the assignment")
    parser.add_argument("--file", metavar="NAME", help="of the file that students hand in (resnet_layers.py)")
    parser.add_argument("--feedback", metavar="HOW", help="what is told of hidden cases: full, kind or none")
    parser.add_argument(
        "--allow", metavar="MODULE", action="append", help="a module that submissions may import, such as scipy"
    )
    parser.set_defaults(run=new)


def _add_tasks(actions: Any) -> None:
    parser = actions.add_parser(
        "tasks",
        help="list all tasks, their points and what is tested",
        description="List tasks, functions, points and kinds of test cases.",
    )
    parser.add_argument("assignment", metavar="FILE", nargs="?", help="a coursework.toml (default: everything)")
    parser.set_defaults(run=tasks)


def new(args: argparse.Namespace) -> int:
    """Write a new folder."""
    from npresnet.grading.handout import new_coursework

    assignment = build_assignment(args)
    folder = new_coursework(args.directory, assignment)
    parts = assignment.parts()
    points = sum(part.points for part in parts)
    print(f"{folder / 'student'}   to hand out: {len(parts)} tasks, {points:g} points")
    print(f"{folder / 'teacher'}   to keep to yourself: the seed of the hidden cases, the solution; read its README.md")
    return 0


def build_assignment(args: argparse.Namespace) -> Assignment:
    """The assignment that the command line describes."""
    import secrets

    from npresnet.grading.assignment import Assignment
    from npresnet.grading.assignment_file import check_points, read_assignment
    from npresnet.grading.texts import Texts

    base = Assignment(seed=secrets.randbits(48)) if args.base is None else read_assignment(args.base)
    points = read_points(args.points)
    changes = {
        "tasks": tuple(piece.strip() for text in args.task for piece in text.split(",")) if args.task else None,
        "points": {**base.points, **points} if points else None,
        "total": args.total,
        "hidden_share": args.hidden_share,
        "language": args.lang,
        "seed": args.seed,
        "title": args.title,
        "file": args.file,
        "feedback": args.feedback,
        "allow": tuple(args.allow) if args.allow else None,
    }
    assignment = base.replace(**{name: value for name, value in changes.items() if value is not None})
    if args.title is None:
        assignment = assignment.replace(
            title=Texts(assignment.language)(assignment.title)
        )  # the usual one has a translation
    chosen = {part.name for part in assignment.parts()}
    kept = {name: value for name, value in assignment.points.items() if name in chosen or name in points}
    assignment = assignment.replace(points=kept)
    check_points(assignment)
    return assignment


def read_points(texts: list[str]) -> dict[str, float]:
    """``["conv2d_backward=12"]`` as a dict."""
    from npresnet.grading.assignment import AssignmentError

    points = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            points[name.strip()] = float(value)
        except ValueError:
            raise AssignmentError(f"--points must be NAME=N, such as conv2d_backward=12, found {text!r}") from None
    return points


def tasks(args: argparse.Namespace) -> int:
    """Print the table of tasks."""
    from npresnet.grading.assignment import Assignment
    from npresnet.grading.assignment_file import read_assignment
    from npresnet.grading.handout.titles import CHAPTERS, points_text

    assignment = Assignment() if args.assignment is None else read_assignment(args.assignment)
    parts = assignment.parts()
    width = max(len(part.name) for part in parts)
    chapter = ""
    for part in parts:
        number = part.task.split(".")[0]
        if number != chapter:
            print(f"{'' if not chapter else chr(10)}{number}  {CHAPTERS[number]}")
        chapter = number
        outputs = ", ".join(part.outputs)
        print(f"  {part.task}  {part.name:<{width}}  {points_text(part.points):>5} points  {outputs}")
        print(f"       {'; '.join(criterion.name for criterion in part.criteria)}")
    print(f"\n{points_text(sum(part.points for part in parts))} points in all")
    return 0


def export_gradescope(args: argparse.Namespace) -> int:
    """Write the archive."""
    from npresnet.grading.assignment_file import read_assignment
    from npresnet.grading.exports.gradescope import write_archive

    path = write_archive(args.output, read_assignment(args.assignment), args.minutes)
    print(f"{path}   {path.stat().st_size / 1024:.0f} kB; upload it as the autograder of a programming assignment")
    return 0


def export_otter(args: argparse.Namespace) -> int:
    """Write the test files."""
    from npresnet.grading.assignment_file import read_assignment
    from npresnet.grading.exports.otter import write_otter

    folder = write_otter(args.output, read_assignment(args.assignment))
    print(f"{folder}   read its README.md")
    return 0


def export_nbgrader(args: argparse.Namespace) -> int:
    """Write the notebook."""
    from npresnet.checkpoint.atomic import atomic_write
    from npresnet.grading.assignment_file import read_assignment
    from npresnet.grading.exports.nbgrader import source_notebook

    text = source_notebook(read_assignment(args.assignment))
    path = Path(args.output)
    if path.exists():
        raise FileExistsError(f"{path} exists already, and nothing is overwritten; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    print(f"{path}   with solutions and hidden tests; next: nbgrader generate_assignment")
    return 0
