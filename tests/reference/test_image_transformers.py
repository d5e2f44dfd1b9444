"""Pixel values against Transformers' image processors (their Pillow backend), bit for bit."""

import io

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers.image_utils import load_image

from npresnet.image import ImageProcessor, open_image


def transformers_class(name):
    """Since Transformers 5 the Pillow backend has a class of its own."""
    return getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)


def expected_values(processor, image, **keys):
    values = processor.to_dict() | keys
    reference = transformers_class(values["image_processor_type"]).from_dict(values)
    return reference(image, return_tensors="np")["pixel_values"]


def check(processor, picture):
    """``picture`` as it is for us; Transformers' processors take what their pipeline's ``load_image`` makes of it."""
    actual = processor(picture)
    expected = expected_values(processor, load_image(picture))
    assert actual.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(actual, expected)


def photograph(height, width, seed=0):
    """Smooth waves and noise: exercises every filter tap."""
    rng = np.random.default_rng([seed, height, width])
    y, x, c = np.indices((height, width, 3))
    waves = 127 + 90 * np.sin(y / 9 + c) * np.cos(x / 7 - c) + rng.normal(0, 30, (height, width, 3))
    return Image.fromarray(np.clip(waves, 0, 255).astype(np.uint8))


PROCESSORS = {
    "resnet": ImageProcessor(),
    "convnext 288": ImageProcessor.transformers(288, 1.0),
    "convnext odd": ImageProcessor.transformers(97, 0.9),
    "convnext 384": ImageProcessor.transformers(384),
    "convnext and crop": ImageProcessor.transformers(64, do_center_crop=True, crop_size=(71, 50)),
    "bit": ImageProcessor(size=100, crop_pct=None, do_center_crop=True, crop_size=(90, 120), resample=2),
    "bit without resize": ImageProcessor(do_resize=False, crop_pct=None, do_center_crop=True, crop_size=(99, 64)),
    "bit without crop": ImageProcessor(size=48, crop_pct=None),
    "vit": ImageProcessor(size=(60, 81), crop_pct=None, resample=1),
    "not normalised": ImageProcessor.transformers(96, do_normalize=False),
    "not rescaled": ImageProcessor.transformers(96, do_rescale=False, image_mean=120.0, image_std=60.0),
    "minus one to one": ImageProcessor.transformers(96, rescale_factor=1 / 127.5, image_mean=1.0, image_std=1.0),
}
SIZES = [(64, 64), (224, 224), (225, 224), (256, 341), (97, 98), (50, 301), (333, 77), (1, 9), (13, 1), (500, 375)]


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(name, size):
    check(PROCESSORS[name], photograph(*size))


@pytest.mark.parametrize("seed", range(40))
def test_random_sizes(seed):
    rng = np.random.default_rng(seed)
    height, width, size = (int(n) for n in rng.integers(1, 500, 3))
    processor = ImageProcessor.transformers(size, float(rng.uniform(0.3, 1)), resample=int(rng.integers(0, 6)))
    check(processor, photograph(height, width, seed))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_modes(mode):
    image = photograph(120, 150)
    if mode == "PA":
        image = image.convert("P").convert("PA")
    check(ImageProcessor.transformers(96), image.convert(mode))


def test_orientation():
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stream = io.BytesIO()
        photograph(120, 150).save(stream, "JPEG", exif=exif)
        check(ImageProcessor.transformers(96), Image.open(stream))


def test_arrays():
    pixels = np.asarray(photograph(120, 150))
    processor = ImageProcessor.transformers(96)
    np.testing.assert_array_equal(processor(pixels), expected_values(processor, pixels))
    # Floats: Transformers truncates to 8 bits where we round, so only whole levels compare; and it rescales by itself.
    levels = np.ldexp(pixels.astype(np.float64), -8) * (256 / 255)
    np.testing.assert_array_equal(processor(levels), processor(pixels))


def test_from_dict_reads_what_transformers_writes():
    for name in ("ConvNextImageProcessor", "BitImageProcessor", "ViTImageProcessor"):
        for changes in ({}, {"resample": 2, "image_mean": [0.4, 0.5, 0.6], "do_rescale": False}):
            reference = transformers_class(name)(**changes)
            processor = ImageProcessor.from_dict(reference.to_dict())
            assert processor.image_processor_type == name
            image = photograph(300, 260)
            np.testing.assert_array_equal(processor(image), reference(image, return_tensors="np")["pixel_values"])


@pytest.mark.parametrize("values", [{}, {"size": 200}, {"do_center_crop": None}, {"do_normalize": None}])
def test_defaults_of_missing_fields(values):
    for name in ("ConvNextImageProcessor", "BitImageProcessor", "ViTImageProcessor"):
        reference = transformers_class(name).from_dict(dict(values))
        image = photograph(300, 260)
        processor = ImageProcessor.from_dict({**values, "image_processor_type": name})
        np.testing.assert_array_equal(processor(image), reference(image, return_tensors="np")["pixel_values"])


def test_saved_file_is_read_by_transformers(tmp_path):
    import json

    image = photograph(300, 260)
    for processor in (ImageProcessor(), ImageProcessor(size=64, crop_pct=None, do_center_crop=True, crop_size=60)):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor.to_dict()))
        reference = transformers_class(processor.image_processor_type).from_pretrained(tmp_path)
        np.testing.assert_array_equal(processor(image), reference(image, return_tensors="np")["pixel_values"])


def test_torchvision_normalisation():
    """pil_to_tensor, convert_image_dtype and normalize, spelled out in the torch operations that they consist of."""
    pixels = np.asarray(photograph(224, 224))
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(torch.float32).div(255)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = x.sub_(mean).div_(std)[None].numpy()
    np.testing.assert_array_equal(ImageProcessor.torchvision(224, 224)(pixels), expected)


def test_open_image_is_load_image():
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK"):
        image = photograph(40, 50).convert(mode)
        np.testing.assert_array_equal(np.asarray(open_image(image)), np.asarray(load_image(image)))
