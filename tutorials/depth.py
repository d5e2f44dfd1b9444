"""Deeper and worse, deeper and better: draw the training of plain and residual networks of two depths.

    npresnet train cifar10 --data DATA --validation test --epochs 10 --lr 0.1 --model plain20 -o runs/plain20
    ... likewise plain56, resnet20 and resnet56
    python depth.py runs/

writes ``depth.csv`` and ``depth.png`` beside this file. It is figures 1 and 6 of He et al. 2015 (arXiv:1512.03385) in
small: 10 epochs in place of 164.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
NETWORKS = ("plain20", "plain56", "resnet20", "resnet56")
COLUMNS = ("epoch", "train_accuracy", "validation_accuracy")


def collect(runs: Path) -> list[dict[str, str]]:
    """The rows of all four logs: network, epoch, and the share of training and of test images that are right."""
    rows = []
    for network in NETWORKS:
        with (runs / network / "log.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                rows.append({"network": network, **{name: row[name] for name in COLUMNS}})
    return rows


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Errors of the training images (dashed) and the test images by epoch, plain networks beside residual ones."""
    plt.style.use(HERE / "tutorials.mplstyle")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for network in NETWORKS:
        own = [row for row in rows if row["network"] == network]
        epochs = [int(row["epoch"]) for row in own]
        axis = axes[int(network.startswith("resnet"))]
        colour = "C0" if network.endswith("20") else "C1"
        for name, style in (("validation_accuracy", "-"), ("train_accuracy", "--")):
            errors = [100 * (1 - float(row[name])) for row in own]
            label = f"{network[:-2]}-{network[-2:]}, {errors[-1]:.1f} %" if style == "-" else None
            axis.plot(epochs, errors, style, color=colour, label=label)
    for axis, title in zip(axes, ("plain", "residual"), strict=True):
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.legend(title="test error (dashed: training)")
    axes[0].set_ylabel("error in %")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Collect, write and draw; without runs, draw from ``depth.csv`` again."""
    table = HERE / "depth.csv"
    if len(sys.argv) > 1:
        rows = collect(Path(sys.argv[1]))
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["network", *COLUMNS], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    with table.open(encoding="utf-8") as file:
        draw(list(csv.DictReader(file)), HERE / "depth.png")


if __name__ == "__main__":
    main()
