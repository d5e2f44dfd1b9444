"""Train the default weights: a CIFAR-10 ResNet-20, by this package's own forward and backward and plain SGD.

    python weights/train_default.py DATA.npz OUTPUT.npz [--epochs 8]

``DATA.npz`` holds ``jpeg_train``, ``offsets_train``, ``labels_train`` and the same for ``test``: all JPEG files one
after the other as bytes, where each begins, and its class. After every epoch the state is saved beside the output, and
a second call goes on from there.
"""

from __future__ import annotations

import argparse
import io
import itertools
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

import npresnet

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCH, PEAK_RATE, MOMENTUM, WEIGHT_DECAY = 128, 0.2, 0.9, 5e-4


def read(data: np.lib.npyio.NpzFile, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Decode one split: (N, 3, 32, 32) normalised float32 pixels and (N,) labels."""
    jpeg, offsets = data[f"jpeg_{split}"], data[f"offsets_{split}"]
    processor = npresnet.ImageProcessor.cifar()
    mean, std = np.float32(processor.image_mean), np.float32(processor.image_std)
    files = [jpeg[start:end].tobytes() for start, end in itertools.pairwise(offsets)]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
    images = ((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images, np.float32), data[f"labels_{split}"].astype(np.int64)


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift every image by up to 4 pixels and mirror half of them (He et al. 2015, section 4.2)."""
    padded = np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    out = np.empty_like(images)
    for i, (y, x) in enumerate(rng.integers(0, 9, (len(images), 2))):
        out[i] = padded[i, :, y : y + 32, x : x + 32]
    flipped = rng.random(len(images)) < 0.5
    out[flipped] = out[flipped, :, :, ::-1]
    return out


def accuracy(model: npresnet.ResNet20, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose best class is right."""
    model.eval()
    right = sum(
        int((model(images[i : i + 500]).logits.argmax(1) == labels[i : i + 500]).sum())
        for i in range(0, len(images), 500)
    )
    return right / len(images)


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    data = np.load(args.data)
    (images, labels), (test_images, test_labels) = read(data, "train"), read(data, "test")
    model = npresnet.ResNet20(seed=args.seed, id2label=dict(enumerate(CLASSES)))
    velocity = {name: np.zeros_like(p.data) for name, p in model.named_parameters()}
    state, done = args.output.with_suffix(".state.npz"), 0
    if state.exists():
        saved = np.load(state)
        done = int(saved["epoch"])
        model.load_state_dict({k[2:]: saved[k] for k in saved.files if k.startswith("m:")})
        velocity = {k[2:]: saved[k] for k in saved.files if k.startswith("v:")}

    steps = len(images) // BATCH
    for epoch in range(done, args.epochs):
        rng = np.random.default_rng((args.seed, epoch))
        order, losses, start = rng.permutation(len(images)), [], time.time()
        model.train()
        for step in track(range(steps), f"epoch {epoch + 1}"):
            # one cycle: a straight line up for a fifth of the time, then down to zero
            progress = (epoch + step / steps) / args.epochs
            rate = PEAK_RATE * min(progress / 0.2, (1 - progress) / 0.8)
            batch = order[step * BATCH : (step + 1) * BATCH]
            model.zero_grad()
            losses.append(model(augment(images[batch], rng), labels=labels[batch]).loss)
            model.backward()
            for name, p in model.named_parameters():
                decay = WEIGHT_DECAY if p.data.ndim > 1 else 0.0
                velocity[name] = MOMENTUM * velocity[name] + p.grad + decay * p.data
                p.data = p.data - np.float32(rate) * velocity[name]
        right = accuracy(model, test_images, test_labels)
        seconds = time.time() - start
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, test {right:.4f}, {seconds:.0f} s", flush=True)
        np.savez(
            state,
            epoch=epoch + 1,
            **{f"m:{k}": v for k, v in model.state_dict().items()},
            **{f"v:{k}": v for k, v in velocity.items()},
        )
    model.eval().save(args.output)


if __name__ == "__main__":
    main()
