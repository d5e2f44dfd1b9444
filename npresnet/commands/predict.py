"""``npresnet predict``: what is in these pictures?"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from npresnet.commands import positive

if TYPE_CHECKING:
    from npresnet.outputs import Prediction
    from npresnet.resnet import ResNetForImageClassification

EPILOG = """\
examples:
  npresnet predict photo.jpg
  npresnet predict photos/ --weights weights/r50.npz --top-k 1
  curl -s https://example.org/cat.jpg | npresnet predict -
  npresnet predict photos/ --csv labels.csv

A picture that cannot be read is reported on stderr and does not stop the others; the exit status is then 1.
"""


class Outcome(NamedTuple):
    """What came of one file: predictions, or an error."""

    file: str
    predictions: Sequence[Prediction]
    error: str | None


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "predict",
        help="classify pictures",
        description="Classify pictures. Directories are searched at every depth; - reads one picture from stdin.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", metavar="FILE_OR_DIR", nargs="+", help="pictures, directories, or -")
    parser.add_argument("--weights", metavar="FILE", help="checkpoint to use (default: the one that comes along)")
    parser.add_argument("--top-k", type=positive, default=5, metavar="K", help="classes to name (default: 5)")
    parser.add_argument("--batch-size", type=positive, default=16, metavar="N", help="pictures at a time (default: 16)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document")
    form.add_argument("--csv", metavar="FILE", help="write file,rank,index,label,score to FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Classify, report, and return 1 if any picture failed."""
    from npresnet.zoo import default_weights, load

    files, failures = list_files(args.inputs)
    # On a terminal that shows the results, these are the progress.
    quiet = not sys.stderr.isatty() or (sys.stdout.isatty() and not args.json and not args.csv)
    with open_writer(args) as write:
        for outcome in failures:
            report(outcome, write)
        if files:
            model = load(args.weights if args.weights is not None else default_weights())
            outcomes = predict_files(model, files, args.top_k, args.batch_size)
            for outcome in with_progress(outcomes, len(files), quiet or len(files) <= args.batch_size):
                report(outcome, write)
                if outcome.error is not None:
                    failures.append(outcome)
    return 1 if failures else 0


def open_writer(args: argparse.Namespace) -> contextlib.AbstractContextManager[Callable[[Outcome], None]]:
    """The form of output that the arguments ask for."""
    if args.csv:
        return csv_writer(args.csv)
    return json_writer() if args.json else contextlib.nullcontext(write_text)


def report(outcome: Outcome, write: Callable[[Outcome], None]) -> None:
    """Write an outcome, and an error on stderr as well."""
    if outcome.error is not None:
        sys.stdout.flush()
        print(f"npresnet: {' '.join(outcome.error.split())}", file=sys.stderr)
    write(outcome)


def list_files(inputs: Sequence[str]) -> tuple[list[str], list[Outcome]]:
    """The pictures that the arguments stand for, and an outcome for each argument that stands for none."""
    from npresnet.image import ImageError, find_images

    files: list[str] = []
    failures: list[Outcome] = []
    for name in inputs:
        try:
            files += [name] if name == "-" else map(str, find_images(name))
        except (ImageError, OSError) as error:
            failures.append(Outcome(name, (), str(error)))
    return files, failures


def predict_files(
    model: ResNetForImageClassification, files: Sequence[str], top_k: int, batch_size: int
) -> Iterator[Outcome]:
    """Classify files batch by batch, so that memory does not grow with their number."""
    from npresnet.image import ImageError

    remaining = iter(files)
    while batch := list(islice(remaining, batch_size)):
        images = [sys.stdin.buffer.read() if file == "-" else file for file in batch]
        try:
            results: Any = model.predict(images, top_k=top_k, batch_size=batch_size)
        except (ImageError, OSError):  # one picture spoils a batch, so take them one by one
            yield from (_predict_one(model, *pair, top_k) for pair in zip(batch, images, strict=True))
        else:
            yield from (Outcome(*pair, None) for pair in zip(batch, results, strict=True))


def _predict_one(model: ResNetForImageClassification, file: str, image: str | bytes, top_k: int) -> Outcome:
    from npresnet.image import ImageError

    try:
        predictions: Any = model.predict(image, top_k=top_k)
        return Outcome(file, predictions, None)
    except (ImageError, OSError) as error:
        return Outcome(file, (), f"stdin: {error}" if file == "-" else str(error))


def with_progress(outcomes: Iterator[Outcome], total: int, quiet: bool) -> Iterator[Outcome]:
    """Pass the outcomes on and draw a bar on stderr."""
    if quiet:
        yield from outcomes
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        yield from bar.track(outcomes, total=total, description="classifying")


def write_text(outcome: Outcome) -> None:
    """Print the name of a file and a line for each class."""
    if outcome.error is None:
        print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in outcome.file))
        for index, label, score in outcome.predictions:
            print(f"{100 * score:6.1f} %  {label} ({index})")


@contextlib.contextmanager
def json_writer() -> Iterator[Callable[[Outcome], None]]:
    """Print a JSON list, item by item."""
    first = True

    def write(outcome: Outcome) -> None:
        nonlocal first
        item: dict[str, Any] = {"file": outcome.file}
        if outcome.error is None:
            item["predictions"] = [
                {"index": int(index), "label": label, "score": round(float(score), 6)}
                for index, label, score in outcome.predictions
            ]
        else:
            item["error"] = outcome.error
        print("[" if first else ",")
        print("  " + json.dumps(item), end="")
        first = False

    try:
        yield write
    finally:  # a document that ends early is still JSON
        print("[]" if first else "\n]")


@contextlib.contextmanager
def csv_writer(path: str) -> Iterator[Callable[[Outcome], None]]:
    """Write rows to a temporary file that becomes ``path`` in the end, or nothing if something fails."""
    from npresnet.checkpoint.atomic import atomic_write

    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(["file", "rank", "index", "label", "score"])

        def write(outcome: Outcome) -> None:
            for rank, (index, label, score) in enumerate(outcome.predictions, start=1):
                rows.writerow([outcome.file, rank, index, label, f"{score:.6f}"])

        yield write
