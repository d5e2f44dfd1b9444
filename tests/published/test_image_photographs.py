"""Preprocessing of photographs against stored pixels of torchvision and timm, and against Transformers."""

import os
from pathlib import Path

import numpy as np
import pytest

from npresnet.image import ImageProcessor, find_images

DATA = Path(os.environ["NPRESNET_DATA"])
PHOTOGRAPHS = DATA / "data" / "imagenet_samples"
STYLES = {
    "tv256": ImageProcessor.torchvision(256),
    "tv232": ImageProcessor.torchvision(232),
    "timm95": ImageProcessor.timm(224, 0.95),
}


def test_pixels_of_torchvision_and_timm():
    with np.load(DATA / "golden" / "preprocessing.npz") as golden:
        assert len(golden.files) == 36
        for name in golden.files:
            style, file = name.split("/")
            np.testing.assert_array_equal(STYLES[style].pixels(PHOTOGRAPHS / file), golden[name], err_msg=name)


@pytest.mark.parametrize("style", [*STYLES, "caffe"])
def test_every_photograph_is_read(style):
    files = find_images(PHOTOGRAPHS)
    assert len(files) == 100
    processor = STYLES.get(style, ImageProcessor.caffe())
    for start in range(0, 100, 25):
        values = processor(files[start : start + 25])
        assert values.shape == (25, 3, 224, 224)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values.std(axis=(1, 2, 3)) > 0.05).all()


@pytest.mark.parametrize("size", [224, 384])
def test_pixel_values_of_transformers(size):
    import transformers
    from transformers.image_utils import load_image

    processor = ImageProcessor.transformers(size)
    values = processor.to_dict()
    name = values["image_processor_type"]
    reference = (getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)).from_dict(
        processor.to_dict()
    )
    for file in find_images(PHOTOGRAPHS):
        expected = reference(load_image(str(file)), return_tensors="np")["pixel_values"]
        np.testing.assert_array_equal(processor(file), expected, err_msg=file.name)
