"""How each engine is loaded and called. Only the engine that is asked for is imported.

A runner takes pictures (N, C, H, W) float32 once, brings them into the form that its engine likes best, and returns a
function without arguments, which is what is timed; it returns logits (N, labels).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contestants import Contestant
from .material import Material
from .onnx_export import INPUT

Images = NDArray[np.float32]
Call = Callable[[], Any]
Runner = Callable[[Images], Call]


def load_runner(contestant: Contestant, material: Material, threads: int) -> Runner:
    """Load a contestant's file.

    Raises
    ------
    ValueError
        If npresnet does not have the contestant's precision on this processor.
    """
    return LOADERS[contestant.engine](contestant, material, threads)


def _npresnet(contestant: Contestant, material: Material, threads: int) -> Runner:
    import npresnet

    model = npresnet.load(material.weights)
    plan = model.compile(precision=contestant.precision, num_threads=threads)
    return lambda images: lambda: plan(images).logits


def _torch(contestant: Contestant, material: Material, threads: int) -> Runner:
    import torch
    import transformers

    torch.set_num_threads(threads)
    layout = torch.channels_last if contestant.way == "channels-last" else torch.contiguous_format
    model = transformers.ResNetForImageClassification.from_pretrained(material.transformers, local_files_only=True)
    model = model.eval().to(memory_format=layout)

    def bind(images: Images) -> Call:
        pixel_values = torch.from_numpy(images).contiguous(memory_format=layout)

        def call() -> Any:
            with torch.inference_mode():
                return model(pixel_values).logits.numpy()

        return call

    return bind


def _onnxruntime(contestant: Contestant, material: Material, threads: int) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(material.onnx(contestant.precision)), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: lambda: session.run(None, {INPUT: images})[0]


LOADERS: dict[str, Callable[[Contestant, Material, int], Runner]] = {
    "npresnet": _npresnet,
    "torch": _torch,
    "onnxruntime": _onnxruntime,
}
