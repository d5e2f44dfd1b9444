"""Train for CIFAR-10 by a recipe of this package in PyTorch, to compare what is reached. No test: it takes an hour.

    python tests/reference/train_by_torch.py cifar10 --data DATA -o runs/torch [--seed 0]

First weights and batches (their order, and what augmentation does) are those of ``npresnet train`` with the same seed;
the network, its gradients, the optimiser, the schedule and the average of weights are PyTorch's. The state is saved
after every epoch, and the same command goes on from there. After each epoch it says, like ``npresnet train --validation
test``, how many test images are right by the averaged weights.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel

from npresnet.benchmark.training.torch_cifar import build
from npresnet.train.data import Dataset, open_dataset
from npresnet.train.launch import build_model
from npresnet.train.preparation import set_processor, training_loader, validation_loader
from npresnet.train.recipe import Recipe
from npresnet.train.recipe_files import read_recipe

COLUMNS = ("epoch", "train_loss", "test_accuracy", "seconds")


class Training:
    """Network, optimiser, schedule and averages of a recipe with SGD, a cosine and no regulariser but weight decay."""

    def __init__(self, recipe: Recipe, train: Dataset) -> None:
        model = build_model(recipe.model, train, recipe.run.seed)
        set_processor(model, recipe.data)
        self.loader = training_loader(train, model, recipe)
        self.ours = model
        self.network = build(model.config).to(memory_format=torch.channels_last)
        self.network.load_state_dict({name: torch.from_numpy(array) for name, array in model.state_dict().items()})
        self.optimizer = _optimizer(self.network, recipe)
        self.scheduler = _scheduler(self.optimizer, recipe, len(self.loader))
        self.average = AveragedModel(self.network, avg_fn=_towards(recipe.optimizer.ema_decay), use_buffers=True)
        # AveragedModel's first update copies; our average begins with the first weights, and moves from there.
        self.average.n_averaged += 1
        self.epoch = 0

    def learn(self) -> float:
        """One epoch; its mean loss."""
        self.network.train()
        total = 0.0
        for batch in track(self.loader.epoch(self.epoch), f"epoch {self.epoch + 1}", len(self.loader), transient=True):
            self.optimizer.zero_grad(set_to_none=True)
            logits = self.network(_pixels(batch.pixel_values))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels))
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.average.update_parameters(self.network)
            total += loss.item()
        self.epoch += 1
        return total / len(self.loader)

    @torch.inference_mode()
    def accuracy(self, batches: Iterable[Any]) -> float:
        """Share of right images, by the averaged weights."""
        self.average.eval()
        right = count = 0
        for batch in batches:
            right += int((self.average(_pixels(batch.pixel_values)).argmax(1).numpy() == batch.labels).sum())
            count += len(batch.labels)
        return right / count

    def save(self, path: Path) -> None:
        """Write everything to go on."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "optimizer", "scheduler", "average")}
        torch.save({"epoch": self.epoch, **parts}, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def restore(self, path: Path) -> None:
        """Go on from a saved state."""
        state = torch.load(path, weights_only=True)
        self.epoch = state.pop("epoch")
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)


def _pixels(array: Any) -> torch.Tensor:
    return torch.from_numpy(array).contiguous(memory_format=torch.channels_last)


def _optimizer(network: torch.nn.Module, recipe: Recipe) -> torch.optim.SGD:
    own = recipe.optimizer
    if own.name != "sgd" or own.lr_scales or own.layer_decay or own.clip_norm or own.accumulate != 1:
        raise SystemExit("this program knows SGD with momentum and weight decay, and nothing else of an optimiser")
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": own.weight_decay},
        {
            "params": [p for p in parameters if p.ndim == 1],
            "weight_decay": own.weight_decay if own.decay_norms_and_biases else 0.0,
        },
    ]
    momentum = 0.9 if own.momentum is None else own.momentum
    return torch.optim.SGD(groups, lr=own.lr, momentum=momentum, nesterov=bool(own.nesterov))


def _scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> lr_scheduler.SequentialLR:
    own = recipe.schedule
    if own.name != "cosine" or own.final:
        raise SystemExit("this program knows a cosine down to 0, and no other schedule")
    warmup = round(own.warmup_epochs * steps)
    rise = lr_scheduler.LinearLR(optimizer, own.warmup_start, total_iters=warmup)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, recipe.run.epochs * steps - warmup)
    return lr_scheduler.SequentialLR(optimizer, [rise, fall], [warmup])


def _towards(decay: float | None) -> Any:
    if decay is None:
        raise SystemExit("this program averages weights: the recipe must set optimizer.ema_decay")

    def move(average: torch.Tensor, value: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        done = int(updates) - 1
        return average + (1 - min(decay, (1 + done) / (10 + done))) * (value - average)

    return move


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--data", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    recipe = read_recipe(args.recipe)
    recipe = recipe.replace(seed=args.seed, workers=args.threads, epochs=args.epochs or recipe.run.epochs)
    if vars(recipe.regularization) != vars(Recipe().regularization):
        raise SystemExit("this program knows no regulariser but weight decay")
    training = Training(recipe, open_dataset(args.data, "train"))
    testing = validation_loader(open_dataset(args.data, "test"), training.ours, recipe)
    args.output.mkdir(parents=True, exist_ok=True)
    state = args.output / "state.pt"
    if state.exists():
        training.restore(state)
    while training.epoch < recipe.run.epochs:
        start = time.perf_counter()
        loss = training.learn()
        right = training.accuracy(testing.epoch(0))
        row = (training.epoch, f"{loss:.6f}", f"{right:.6f}", f"{time.perf_counter() - start:.0f}")
        print("epoch {}: loss {}, test {}, {} s".format(*row), flush=True)
        training.save(state)
        new = not (args.output / "log.csv").exists()
        with (args.output / "log.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, row] if new else [row])


if __name__ == "__main__":
    main()
