"""``npresnet train``: a network by a recipe."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.commands import positive

if TYPE_CHECKING:
    from npresnet.train.launch import Data
    from npresnet.train.recipe import Recipe
    from npresnet.train.trainer import Trainer

EPILOG = """\
examples:
  npresnet train --list                             the recipes that come along
  npresnet train cifar10 --data cifar-10-python.tar.gz -o runs/first
  npresnet train --resume runs/first                go on, to the same bits as without the interruption
  npresnet train fine-tune --data photos/ --weights resnet50 -o runs/pets
  npresnet train cifar10 --show > mine.toml         all keys of a recipe, explained
  npresnet train mine.toml --data cifar10/ --epochs 5 --set label_smoothing=0.1

A run directory holds recipe.toml, log.csv, curves.png, last.npz (everything to go on) and best.npz (for predict,
evaluate and so on). Ctrl-C finishes the step, saves and ends; again ends at once. photos/ has a folder for each class.
"""

RATES = {"sgd": 0.1, "adamw": 1e-3, "lamb": 5e-3}
"""Where to begin with an optimiser."""


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "train",
        help="train a network, or fine-tune published weights",
        description="Train a network by a recipe: one that comes along, or a TOML or YAML file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="cifar10, fine-tune, ... or a .toml or .yaml file")
    parser.add_argument("--data", dest="path", metavar="PATH", help="an archive or folder of images")
    parser.add_argument("-o", "--output", metavar="DIR", help="where to keep the run (default: runs/RECIPE)")
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in this directory")
    parser.add_argument("--model", dest="architecture", metavar="NAME", help="a new network, such as resnet32")
    parser.add_argument("--weights", metavar="FILE", help="start from a checkpoint, or published weights by name")
    parser.add_argument(
        "--validation", metavar="WHAT", help="a part such as 0.1, a split such as test, a path, or none"
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help="how often every image is seen")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="images at a time")
    parser.add_argument("--image-size", type=positive, metavar="N", help="side of the images in pixels")
    parser.add_argument("--optimizer", metavar="NAME", help="sgd, adamw or lamb")
    parser.add_argument("--lr", metavar="RATE", help="learning rate")
    parser.add_argument("--seed", metavar="N", help="of everything random")
    parser.add_argument("--workers", metavar="N", help="threads that prepare images")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="any other key of the recipe; may be repeated"
    )
    parser.add_argument("--show", action="store_true", help="print the complete recipe, explained, and do nothing")
    parser.add_argument("--list", action="store_true", help="list the recipes that come along")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run, parser=parser)


FLAGS = (
    "path", "architecture", "weights", "validation", "epochs", "batch_size", "image_size", "optimizer", "lr", "seed",
    "workers",
)  # fmt: skip
"""Flags that are keys of a recipe."""


def run(args: argparse.Namespace) -> int:
    """Train, and return 0, or 128 plus the number of the signal that ended it."""
    if args.list:
        print_list()
        return 0
    from npresnet.train.interrupt import TrainingInterrupted

    changes = read_changes(args)
    if args.resume is not None:
        trainer, data = resume(args, changes)
    else:
        if args.recipe is None:
            args.parser.error("give a RECIPE, such as cifar10 (--list shows all), or a run to go on with: --resume DIR")
        recipe = build_recipe(args.recipe, changes)
        if args.show:
            from npresnet.train.recipe_files import format_recipe

            print(format_recipe(recipe), end="")
            return 0
        from npresnet.train.launch import new_run

        trainer, data = new_run(recipe, args.output or free_directory(args.recipe), progress=not args.quiet)
    try:
        trainer.fit(resume=args.resume is not None)
    except TrainingInterrupted as stop:
        print(f"npresnet: {stop}", file=sys.stderr)
        return 128 + stop.signal
    report(trainer, data)
    return 0


def read_changes(args: argparse.Namespace) -> dict[str, Any]:
    """The keys of a recipe that the command line sets, by name."""
    from npresnet.train.recipe_files import parse_value

    changes = {name: getattr(args, name) for name in FLAGS if getattr(args, name) is not None}
    for name in ("validation", "lr", "seed", "workers"):
        if name in changes:
            changes[name] = parse_value(changes[name])
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            args.parser.error(f"--set wants KEY=VALUE, such as label_smoothing=0.1, found {item!r}")
        changes[name.strip()] = parse_value(value.strip())
    return changes


def build_recipe(name: str, changes: dict[str, Any]) -> Recipe:
    """The recipe with what the command line changes in it."""
    from npresnet.train.recipe import RecipeError
    from npresnet.train.recipe_files import read_recipe

    recipe = read_recipe(name)
    if "weights" in changes:
        changes = {"architecture": None, **changes}
    elif "architecture" in changes:
        changes = {"weights": None, **changes}
    wanted = changes.get("optimizer", recipe.optimizer.name)
    if wanted != recipe.optimizer.name and not changes.keys() & {"lr", "optimizer.lr"} and wanted in RATES:
        raise RecipeError(
            f"the learning rate {recipe.optimizer.lr:g} of the recipe is meant for {recipe.optimizer.name}; give one "
            f"for {wanted} as well, for example --lr {RATES[wanted]:g}"
        )
    return recipe.replace(**changes)


def resume(args: argparse.Namespace, changes: dict[str, Any]) -> tuple[Trainer, Data]:
    """Prepare to go on with a run."""
    from npresnet.train.launch import resume_run
    from npresnet.train.recipe import find_key
    from npresnet.train.resuming import FREE_TO_CHANGE

    fixed = [name for name in changes if ".".join(find_key(name)) not in FREE_TO_CHANGE]
    fixed += [name for name in ("recipe", "output", "show") if getattr(args, name)]
    if fixed:
        args.parser.error(
            f"--resume goes on with the recipe of the run, in its directory; leave out {', '.join(fixed)} "
            "(only --data, --workers, and --set of save_minutes and checkpoint_activations may change)"
        )
    return resume_run(args.resume, progress=not args.quiet, **changes)


def free_directory(recipe: str) -> str:
    """A name in runs/ that is not taken: that of the recipe, with a number if need be."""
    first = Path("runs") / Path(recipe).stem
    numbered = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    return str(next(path for path in itertools.chain([first], numbered) if not path.exists()))


def report(trainer: Trainer, data: Data) -> None:
    """Print the result, and what can be done with it."""
    history = trainer.history
    if history.outcome == "stopped early":
        print(f"stopped early: no improvement in {trainer.recipe.run.patience} epochs")
    best = None if history.best_epoch is None else history[history.best_epoch - 1]
    if best is not None and best.validation_accuracy is not None:
        print(
            f"best epoch {best.epoch}: {100 * best.validation_accuracy:.2f} % of the validation images right, "
            f"loss {best.validation_loss:.4f}"
        )
    if data.test is not None:
        from npresnet.train.evaluation import evaluate

        evaluation = evaluate(trainer.model, data.test, workers=trainer.recipe.data.workers)
        top5 = "" if evaluation.top5 is None else f", top-5 {100 * evaluation.top5:.2f} %"
        print(f"test: {100 * evaluation.top1:.2f} % of {evaluation.images:,} images right{top5}")
    if trainer.best_path is not None:
        path = trainer.best_path
        print(f"weights: {path}")
        print(f"next: npresnet evaluate {path.parent}  or  npresnet predict PHOTO --weights {path}")


def print_list() -> None:
    """Print the recipes of the package."""
    from npresnet.train.recipe_files import packaged_recipes

    recipes = packaged_recipes()
    width = max(map(len, recipes))
    for name, description in recipes.items():
        print(f"{name:<{width}}  {description}")
