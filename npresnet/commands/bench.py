"""``npresnet bench``: how fast, compared with whom? Predictions, or with ``--training`` whole training steps."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.commands import positive

if TYPE_CHECKING:
    from npresnet.benchmark.progress import Progress

Document = dict[str, Any]

EPILOG = """\
examples:
  npresnet bench                                    ResNet-50 against what is installed
  npresnet bench --model resnet18,resnet50 --batch 1,8,32 --precision float32,int8
  npresnet bench --vs onnxruntime --rounds 15 --output bench.json --plot bench.png
  npresnet bench --vs none --no-starts              npresnet alone
  npresnet bench --training                         training steps of ResNet-50, beside PyTorch
  npresnet bench --training --model resnet20,resnet18,resnet50

Every contestant has the same random weights and the same pictures, must give the same logits, and runs in a process of
its own; they take turns. Peers that are not installed are left out: pip install 'npresnet[bench]' brings them all.
A training step is a forward pass, cross-entropy, a backward pass and gradient descent with momentum and weight decay;
after one step from the same weights, loss, gradient norm and new weights must be the same up to rounding.
The exit status is 1 if a contestant was wrong or failed.
"""

PRECISIONS = ("float32", "int8", "bfloat16")
BATCHES = (1, 8)


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="measure speed, memory and start time, also of PyTorch and ONNX Runtime",
        description="Measure the speed of predictions or training steps, and compare it with PyTorch and ONNX Runtime.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        type=listed(model_name),
        default=["resnet50"],
        metavar="NAMES",
        help="such as resnet18,resnet50 (default: resnet50)",
    )
    parser.add_argument("--training", action="store_true", help="measure whole training steps")
    parser.add_argument(
        "--batch",
        type=listed(positive),
        metavar="NUMBERS",
        help="pictures in a call (default: 1,8), or in a step (default: 8, for CIFAR models 128)",
    )
    parser.add_argument(
        "--size", type=positive, metavar="N", help="side of the pictures in pixels (default: 224, for CIFAR models 32)"
    )
    parser.add_argument(
        "--vs", type=peers, metavar="PEERS", help="torch,onnxruntime or none (default: those that are installed)"
    )
    parser.add_argument(
        "--precision",
        type=listed(precision),
        metavar="NAMES",
        help="of npresnet; int8 is also measured in ONNX Runtime (default: float32,int8,bfloat16)",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="for every contestant (default: all processors)")
    parser.add_argument("--rounds", type=positive, default=7, metavar="N", help="turns of a second each (default: 7)")
    parser.add_argument("--no-starts", action="store_true", help="leave out memory and start time of new processes")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--output", metavar="FILE", help="write the JSON document to FILE as well")
    parser.add_argument("--plot", type=picture, metavar="FILE", help="draw bars: .png, .pdf or .svg (needs matplotlib)")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Measure, report, and return 1 if a contestant was wrong or failed."""
    from npresnet.benchmark.progress import Progress

    measure, show = _training(args) if args.training else _inference(args)
    with contextlib.ExitStack() as files:  # opened first: a bad path must not show after minutes
        save = _saver(files, args.output)
        plot = _plotter(files, args.plot)
        with Progress() as progress:
            document = measure(progress)
        save(document)
        plot(document)
    if args.json:
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        show(document)
    return int(any(result["status"] != "timed" for model in document["models"] for result in model["results"]))


def _inference(args: argparse.Namespace) -> tuple[Callable[[Progress], Document], Callable[[Document], None]]:
    """How to measure predictions, and how to show the outcome."""
    from npresnet.benchmark.match import Request
    from npresnet.benchmark.report import show
    from npresnet.benchmark.run import run_benchmark
    from npresnet.kernels.parallel import num_threads

    request = Request(
        models=args.model, batches=args.batch or BATCHES, size=args.size, peers=args.vs,
        precisions=args.precision or PRECISIONS, threads=args.threads or num_threads(), rounds=args.rounds,
        starts=not args.no_starts,
    )  # fmt: skip
    return lambda progress: run_benchmark(request, progress), show


def _training(args: argparse.Namespace) -> tuple[Callable[[Progress], Document], Callable[[Document], None]]:
    """How to measure training steps, and how to show the outcome."""
    from npresnet.benchmark.training.report import show
    from npresnet.benchmark.training.run import PEERS, Request, run_training_benchmark
    from npresnet.kernels.parallel import num_threads

    if args.precision:
        args.parser.error("--precision is of predictions; training steps are float32, so leave it out with --training")
    if foreign := [peer for peer in args.vs or () if peer not in PEERS]:
        args.parser.error(f"{foreign[0]} does not train here; with --training --vs is {', '.join(PEERS)} or none")
    request = Request(
        models=args.model, batches=args.batch, size=args.size, peers=args.vs,
        threads=args.threads or num_threads(), rounds=args.rounds,
    )  # fmt: skip
    return lambda progress: run_training_benchmark(request, progress), show


def _saver(files: contextlib.ExitStack, path: str | None) -> Callable[[dict[str, Any]], None]:
    if path is None:
        return lambda document: None
    from npresnet.checkpoint.atomic import atomic_write

    temporary = files.enter_context(atomic_write(path))
    return lambda document: _write_json(temporary, document)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _plotter(files: contextlib.ExitStack, path: str | None) -> Callable[[dict[str, Any]], None]:
    if path is None:
        return lambda document: None
    from npresnet.benchmark.chart import draw, need_matplotlib
    from npresnet.checkpoint.atomic import atomic_write

    need_matplotlib()
    temporary = files.enter_context(atomic_write(path))
    return lambda document: draw(document, temporary, Path(path).suffix[1:].lower())


# ------------------------------------------------------------------------------------------------- types of arguments


def listed(item: Callable[[str], str | int]) -> Callable[[str], list[Any]]:
    """Type of an argument that is a list of different items, separated by commas."""

    def parse(text: str) -> list[Any]:
        return list(dict.fromkeys(item(part.strip()) for part in text.split(",")))

    return parse


def model_name(text: str) -> str:
    """Type of an item that is the name of a preset."""
    from npresnet.config import preset

    try:
        preset(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def precision(text: str) -> str:
    """Type of an item that is a precision."""
    from npresnet.benchmark.contestants import PRECISIONS

    return _one_of("precision", text, PRECISIONS)


def peers(text: str) -> list[str]:
    """Type of ``--vs``: a list of peers, or ``none``."""
    from npresnet.benchmark.contestants import PEERS

    if text.strip() == "none":
        return []
    return listed(lambda name: _one_of("peer", name, tuple(PEERS)))(text)


def picture(text: str) -> str:
    """Type of ``--plot``: a file whose suffix tells the format."""
    from npresnet.benchmark.chart import FORMATS

    if Path(text).suffix[1:].lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"must end in {', '.join('.' + form for form in FORMATS)}, found {text!r}")
    return text


def _one_of(noun: str, text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        near = difflib.get_close_matches(text, choices, n=1)
        hint = f"did you mean {near[0]}" if near else f"choose from {', '.join(choices)}"
        raise argparse.ArgumentTypeError(f"unknown {noun} {text!r}; {hint}")
    return text
