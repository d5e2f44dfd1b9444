"""``npresnet evaluate``: how good is a model on labelled images?"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.commands import positive

if TYPE_CHECKING:
    from npresnet.train.data import Dataset

EPILOG = """\
examples:
  npresnet evaluate runs/first                      the best weights of a run, on its test or validation images
  npresnet evaluate runs/first/best.npz --data cifar-10-python.tar.gz
  npresnet evaluate weights/r50.npz --data imagenet/val --split all -o report
  npresnet evaluate runs/pets --json

-o writes evaluation.json, classes.csv, confusion.csv, and with matplotlib confusion.png and calibration.png. Classes
are matched by name; the images may be of some of the model's classes only.
"""


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        help="accuracy, confusion matrix and calibration on labelled images",
        description="Measure top-1 and top-5, the accuracy of every class, what is mistaken for what, and calibration.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a checkpoint, or the directory of a run")
    parser.add_argument("--data", metavar="PATH", help="an archive or folder of images (default: those of the run)")
    parser.add_argument("--split", metavar="NAME", help="train, val, test or all (default: test, or else val)")
    parser.add_argument("-o", "--output", metavar="DIR", help="write tables and pictures to DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--batch-size", type=positive, default=64, metavar="N", help="images at a time (default: 64)")
    parser.add_argument("--workers", type=positive, metavar="N", help="threads that prepare images")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, and write files."""
    from npresnet.train.evaluation import evaluate
    from npresnet.train.report import save_evaluation
    from npresnet.zoo import load

    weights = find_checkpoint(Path(args.model))
    data = find_data(weights, args.data, args.split)
    model = load(weights)
    if args.output is not None:
        Path(args.output).mkdir(parents=True, exist_ok=True)  # a bad path must not show after minutes
    with progress(len(data), quiet=not sys.stderr.isatty()) as advance:
        evaluation = evaluate(model, data, batch_size=args.batch_size, workers=args.workers, advance=advance)
    evaluation = dataclasses.replace(evaluation, weights=str(weights))
    print(json.dumps(evaluation.to_dict(), indent=2, allow_nan=False) if args.json else evaluation)
    if args.output is not None:
        written = save_evaluation(evaluation, args.output)
        print(f"written: {', '.join(map(str, written))}", file=sys.stderr if args.json else sys.stdout)
    return 0


def find_checkpoint(path: Path) -> Path:
    """The weights that an argument stands for: the best ones of a run, or a checkpoint."""
    if (path / "best.npz").is_file():
        return path / "best.npz"
    if (path / "last.npz").is_file():
        raise FileNotFoundError(
            f"{path} holds no best.npz yet: its first epoch is not over; npresnet train --resume {path}"
        )
    return path


def find_data(weights: Path, path: str | None, split: str | None) -> Dataset:
    """The images to evaluate on.

    Raises
    ------
    ValueError
        If none are given and the weights do not come from a run, or they are those that the weights were trained on.
    """
    from npresnet.train.data import dataset_splits, open_dataset
    from npresnet.train.launch import open_data
    from npresnet.train.recipe_files import read_recipe

    recipe_file = weights.parent / "recipe.toml"
    recipe = read_recipe(recipe_file) if recipe_file.is_file() else None
    own = None if recipe is None else recipe.data.path
    if path is None:
        if recipe is None or own is None:
            raise ValueError(f"no images to evaluate {weights} on: give --data PATH")
        if split is not None:
            return open_dataset(own, split)
        data = open_data(recipe.data, recipe.run.seed)
        if data.test is None and data.validation is None:
            raise ValueError(f"the run of {weights} has neither test nor validation images; give --data or --split")
        return data.test or data.validation  # type: ignore[return-value]
    if split is None:
        splits = dataset_splits(path)
        split = next((name for name in ("test", "val", "all") if name in splits), "train")
        if split in ("all", "train") and own is not None and Path(path).resolve() == Path(own).resolve():
            raise ValueError(
                f"{weights} was trained on {path}; leave out --data to evaluate on the images that were held out, or "
                f"say --split {split} to take all"
            )
    return open_dataset(path, split)


@contextlib.contextmanager
def progress(total: int, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Draw a bar on stderr; yields the function that moves it."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("evaluating", total=total)
        yield lambda done, of: bar.update(task, completed=done)
