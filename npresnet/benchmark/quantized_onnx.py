"""The int8 file for ONNX Runtime, made as its documentation recommends: static, QDQ, weights per channel."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from .material import CALIBRATION_IMAGES, Material
from .onnx_export import INPUT


def quantize(material: Material) -> None:
    """Write ``material.onnx("int8")`` from ``material.onnx("float32")``; activations are calibrated on the pictures."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, target = material.onnx("float32"), material.onnx("int8")
    folded = target.with_suffix(".folded.onnx")  # BatchNorms folded: otherwise they would stay in float32
    try:
        with _only_errors():
            quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
            quantize_static(
                str(folded),
                str(target),
                _reader(material),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,  # unsigned by signed is what x86 processors multiply
            )
    finally:
        folded.unlink(missing_ok=True)


def _reader(material: Material) -> Any:
    """A CalibrationDataReader that gives the pictures one by one."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            images = material.first_images(CALIBRATION_IMAGES)
            self._feeds: Iterator[dict[str, Any]] = iter([{INPUT: image[None]} for image in images])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    return Reader()


@contextlib.contextmanager
def _only_errors() -> Iterator[None]:
    """Keep the quantizer's advice away: everything it warns about is intended."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
