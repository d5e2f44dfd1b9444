"""ImageProcessor: the arithmetic of the three house styles, the values, and preprocessor_config.json."""

import json

import numpy as np
import pytest
from PIL import Image

from npresnet.image import ImageError, ImageProcessor


def coordinates(height, width):
    """A picture whose pixel (y, x) is (y, x, 255), so that a crop tells where it was cut; beyond the edge lies 0."""
    y, x = np.indices((height, width))
    return np.stack([y, x, np.full_like(x, 255)], axis=-1).astype(np.uint8)


def formula_picture():
    y, x, c = np.indices((9, 7, 3))
    return ((y * 29 + x * 17 + c * 83 + (y * x) % 5 * 11) % 256).astype(np.uint8)


# Geometry

# (H, W) -> (h, w) of the resized picture, computed by Transformers 5.23's get_resize_output_image_size(size=n,
# default_to_square=False); torchvision's Resize(n) has the same arithmetic.
RESIZED = {
    (256, (37, 100)): (256, 691), (256, (500, 375)): (341, 256), (235, (375, 500)): (235, 313),
    (232, (331, 499)): (232, 349), (256, (333, 333)): (256, 256), (256, (1000, 999)): (256, 256),
    (256, (1, 7)): (256, 1792), (32, (481, 321)): (47, 32), (256, (161, 242)): (256, 384),
}  # fmt: skip


@pytest.mark.parametrize(("edge", "shape"), RESIZED)
def test_shorter_edge(edge, shape):
    processor = ImageProcessor.torchvision(edge, do_center_crop=False)
    assert processor.pixels(np.zeros((*shape, 3), np.uint8)).shape == (*RESIZED[edge, shape], 3)


def crop_begins(style, length, crop):
    processor = ImageProcessor(do_resize=False, crop_pct=None, do_center_crop=True, crop_size=crop, style=style)
    pixels = processor.pixels(coordinates(length, length))
    assert pixels.shape == (crop, crop, 3)
    rows, columns = (np.flatnonzero(pixels[:, :, 2].any(axis=axis)) for axis in (1, 0))
    assert np.array_equal(rows, columns)
    begin = pixels[rows[0], rows[0]]
    assert begin[0] == begin[1]
    return int(begin[0]) - int(rows[0])


# length -> where a crop of 20 begins; (H - h) // 2 and int(round((H - h) / 2)), and for smaller pictures minus the
# padding before: ceil((h - H) / 2) in Transformers, (h - H) // 2 in torchvision. Worked out by hand.
@pytest.mark.parametrize(
    ("style", "begins"),
    [
        ("transformers", {20: 0, 21: 0, 22: 1, 23: 1, 25: 2, 27: 3, 29: 4, 40: 10, 19: -1, 18: -1, 17: -2, 1: -10}),
        ("torchvision", {20: 0, 21: 0, 22: 1, 23: 2, 25: 2, 27: 4, 29: 4, 40: 10, 19: 0, 18: -1, 17: -1, 1: -9}),
    ],
)
def test_centre_crop_and_padding(style, begins):
    assert {length: crop_begins(style, length, 20) for length in begins} == begins


def test_crop_wider_and_lower_than_the_picture():
    crop = {"do_resize": False, "crop_pct": None, "do_center_crop": True, "crop_size": (4, 10)}
    pixels = ImageProcessor(**crop).pixels(formula_picture())
    expected = [  # channel 0, from Transformers 5.23's BitImageProcessorPil
        [0, 0, 58, 97, 136, 120, 159, 143, 182, 0], [0, 0, 87, 137, 132, 182, 177, 172, 222, 0],
        [0, 0, 116, 177, 183, 189, 195, 201, 6, 0], [0, 0, 145, 162, 179, 196, 213, 230, 247, 0],
    ]  # fmt: skip
    assert pixels[:, :, 0].tolist() == expected
    assert ImageProcessor(**crop, style="torchvision").pixels(formula_picture())[:, :, 0].tolist() == [
        [*row[1:], 0] for row in expected
    ]


def test_transformers_pixels():
    pixels = ImageProcessor.transformers(size=4, crop_pct=0.7).pixels(formula_picture())  # int(4 / 0.7) = 5
    expected = [  # (y, x * channel), from Transformers 5.23's ConvNextImageProcessorPil
        [58, 144, 182, 105, 199, 96, 130, 203, 43, 145, 233, 44],
        [111, 168, 139, 152, 146, 45, 178, 31, 85, 185, 91, 90],
        [145, 198, 47, 184, 58, 88, 189, 13, 107, 206, 35, 125],
        [197, 32, 99, 190, 68, 141, 35, 88, 172, 31, 106, 189],
    ]
    assert pixels.reshape(4, 12).tolist() == expected


def test_bilinear_pixels():
    pixels = ImageProcessor.torchvision(5, 4).pixels(formula_picture())
    expected = [  # from Transformers 5.23's BitImageProcessorPil; both styles crop at (1, 0)
        [64, 147, 173, 105, 188, 101, 129, 189, 55, 147, 214, 57],
        [111, 166, 134, 148, 145, 58, 173, 55, 83, 180, 99, 90],
        [150, 176, 60, 179, 70, 89, 177, 28, 111, 191, 46, 129],
        [190, 46, 100, 180, 68, 138, 55, 84, 167, 48, 103, 186],
    ]
    assert pixels.reshape(4, 12).tolist() == expected


def test_transformers_squashes_from_384():
    wide = coordinates(100, 200)
    for size, squashed in ((383, False), (384, True)):
        pixels = ImageProcessor.transformers(size).pixels(wide)
        assert pixels.shape == (size, size, 3)
        assert (pixels[:, -1, 1].min() > 195) == squashed  # the right edge is still there
    assert ImageProcessor(size=(20, 30), crop_pct=None).pixels(wide).shape == (20, 30, 3)


def test_presets():
    shapes = {
        ImageProcessor.torchvision: (224, 256), ImageProcessor.timm: (224, 235), ImageProcessor.caffe: (224, 256),
        ImageProcessor.cifar: (32, 32),
    }  # fmt: skip
    for preset, (crop, edge) in shapes.items():
        processor = preset()
        assert processor.size == {"shortest_edge": edge}
        assert processor.crop_size == {"height": crop, "width": crop}
        assert processor(coordinates(250, 240)).shape == (1, 3, crop, crop)
    assert ImageProcessor.timm(288, 1.0).size == {"shortest_edge": 288}
    assert ImageProcessor.timm().resample == 3
    assert ImageProcessor.torchvision().resample == 2
    assert ImageProcessor.transformers() == ImageProcessor()
    small = coordinates(32, 32)
    np.testing.assert_array_equal(ImageProcessor.cifar().pixels(small), small)


# Values


def test_values_are_those_of_transformers():
    processor = ImageProcessor.transformers(size=4, crop_pct=0.8)
    values = processor(formula_picture())
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    expected = ["-0x1.1fea440000000p+0", "0x1.f0f0f80000000p-2", "0x1.5e1f8e0000000p+0"]  # ConvNextImageProcessorPil
    assert [float(v).hex() for v in values[0, :, 0, 0]] == expected


def test_each_value_of_each_channel():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = np.stack([levels, levels[::-1], levels.T], axis=-1)
    plain = {"do_resize": False, "crop_pct": None, "image_mean": (0.1, 0.2, 0.3), "image_std": (0.5, 2.0, 4.0)}
    x = picture.transpose(2, 0, 1).astype(np.float64)
    mean, std = np.array([0.1, 0.2, 0.3])[:, None, None], np.array([0.5, 2.0, 4.0])[:, None, None]
    for changes, expected in (
        ({}, (x / 255 - mean) / std),
        ({"do_normalize": False}, x / 255),
        ({"do_rescale": False}, (x - mean) / std),
        ({"do_rescale": False, "do_normalize": False}, x),
        ({"rescale_factor": 1 / 127.5}, (x / 127.5 - mean) / std),
    ):
        values = ImageProcessor(**{**plain, **changes})(picture)
        np.testing.assert_allclose(values, expected[None], rtol=1e-6, atol=1e-6)


def test_torchvision_arithmetic_gives_the_same_bits():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    values = ImageProcessor(do_resize=False)(levels)[0]
    for c, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        # to_tensor, normalize: all in float32
        expected = (levels.astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)
        np.testing.assert_array_equal(values[c], expected)


def test_caffe_is_bgr_minus_the_mean():
    picture = np.full((300, 300, 3), (10, 20, 30), np.uint8)
    values = ImageProcessor.caffe()(picture)
    expected = [30 - 103.939, 20 - 116.779, 10 - 123.68]  # Keras: imagenet_utils.preprocess_input, mode "caffe"
    np.testing.assert_allclose(values[0, :, 100, 100], expected, rtol=1e-6)
    assert ImageProcessor.caffe().pixels(picture)[0, 0].tolist() == [10, 20, 30]


def test_one_channel():
    processor = ImageProcessor.torchvision(32, 28).for_channels(1)
    np.testing.assert_allclose([processor.image_mean, processor.image_std], [[0.449], [0.226]], rtol=1e-12)
    picture = np.full((40, 40, 3), (100, 150, 50), np.uint8)  # luma 0.299 * 100 + 0.587 * 150 + 0.114 * 50 = 123.65
    assert processor.pixels(picture).shape == (28, 28, 1)
    values = processor(picture)
    assert values.shape == (1, 1, 28, 28)
    np.testing.assert_allclose(values, (124 / 255 - 0.449) / 0.226, rtol=1e-6)
    assert processor.load(picture).mode == "L"
    assert ImageProcessor.caffe().for_channels(1).channel_order == "rgb"
    assert ImageProcessor().for_channels(3) == ImageProcessor()


def test_a_batch_is_its_pictures_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((40, 50), (61, 33), (20, 90))]
    path = tmp_path / "a.png"
    Image.fromarray(arrays[0]).save(path)
    processor = ImageProcessor.torchvision(32, 28)
    batch = processor([path, Image.fromarray(arrays[1]), arrays[2] / 255])
    assert batch.shape == (3, 3, 28, 28)
    for values, array in zip(batch, arrays, strict=True):
        np.testing.assert_array_equal(values, processor(array)[0])
    stack = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(ImageProcessor.cifar()(stack), ImageProcessor.cifar()(tuple(stack)))


def test_bad_pictures():
    processor, good = ImageProcessor(), coordinates(10, 10)
    with pytest.raises(ImageError, match="no pictures"):
        processor([])
    with pytest.raises(ImageError, match=r"picture 1 of the list: no such picture: 'gone\.png'"):
        processor([good, "gone.png"])
    with pytest.raises(ImageError, match=r"^no such picture"):
        processor("gone.png")
    with pytest.raises(ImageError, match="1 x 20000 pixels is too long and thin"):
        processor(np.zeros((20_000, 1, 3), np.uint8))
    with pytest.raises(ImageError, match=r"picture 1 .* \(10, 12\), the first one \(10, 10\)"):
        ImageProcessor(do_resize=False)([good, coordinates(10, 12)])


# preprocessor_config.json


@pytest.mark.parametrize(
    "processor",
    [
        ImageProcessor(), ImageProcessor.torchvision(232), ImageProcessor.timm(), ImageProcessor.caffe(),
        ImageProcessor.cifar(), ImageProcessor.transformers(384, 1.0), ImageProcessor(size=(96, 80), crop_pct=None),
        ImageProcessor(size=64, crop_pct=None), ImageProcessor(do_center_crop=True, crop_size=(100, 90)),
        ImageProcessor.torchvision().for_channels(1), ImageProcessor(do_resize=False, do_normalize=False),
    ],
)  # fmt: skip
def test_round_trip_through_json(processor):
    assert ImageProcessor.from_dict(json.loads(json.dumps(processor.to_dict()))) == processor


def test_to_dict_of_the_default_is_a_transformers_file():
    assert ImageProcessor().to_dict() == {
        "image_processor_type": "ConvNextImageProcessor", "do_resize": True, "size": {"shortest_edge": 224},
        "crop_pct": 0.875, "resample": 3, "do_center_crop": False, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    torchvision = ImageProcessor.torchvision().to_dict()
    assert torchvision["image_processor_type"] == "BitImageProcessor"
    assert torchvision["style"] == "torchvision"


IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def test_published_files_are_read():
    # microsoft/resnet-50, as first published and as Transformers writes it today
    old = {"crop_pct": 0.875, "do_normalize": True, "do_resize": True, "resample": 3, "size": 224, **IMAGENET}
    assert ImageProcessor.from_dict({"feature_extractor_type": "ConvNextFeatureExtractor", **old}) == ImageProcessor()
    new = {**old, "size": {"shortest_edge": 224}, "do_rescale": True, "rescale_factor": 0.00392156862745098}
    foreign = {"_valid_processor_keys": ["images"], "do_pad": None, "do_center_crop": None, "crop_size": None}
    foreign |= {"data_format": "channels_first", "processor_class": None, "default_to_square": False}
    for name in ("ConvNextImageProcessor", "ConvNextImageProcessorFast", "ConvNextImageProcessorPil"):
        assert ImageProcessor.from_dict({"image_processor_type": name, **new, **foreign}) == ImageProcessor()


def test_missing_fields_are_those_of_the_transformers_class():
    half = (0.5, 0.5, 0.5)
    convnext = ImageProcessor.from_dict({})
    assert convnext == ImageProcessor.transformers(384, image_mean=half, image_std=half)
    vit = ImageProcessor.from_dict({"image_processor_type": "ViTImageProcessor", "size": 96})
    assert vit == ImageProcessor(size=(96, 96), crop_pct=None, resample=2, image_mean=half, image_std=half)
    off = {"do_center_crop": None, "do_normalize": None, "image_mean": None}  # null turns a switch off
    bit = ImageProcessor.from_dict({"image_processor_type": "BitImageProcessor", **off})
    assert not bit.do_center_crop
    assert not bit.do_normalize
    assert bit.do_rescale
    bit = ImageProcessor.from_dict({"image_processor_type": "BitImageProcessor", "do_convert_rgb": True, **IMAGENET})
    assert bit == ImageProcessor(crop_pct=None, do_center_crop=True, crop_size=224)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image_processor_type": "CLIPImageProcessor"}, r"'CLIPImageProcessor' is not supported.*ConvNext"),
        ({"crop_pc": 0.9}, "unknown preprocessing field 'crop_pc'; did you mean 'crop_pct'"),
        ({"do_flip_channel_order": True}, "unknown preprocessing field"),
        ({"do_pad": True}, "do_pad=True is not supported"),
        ({"image_processor_type": "ViTImageProcessor", "crop_pct": 0.9}, "belongs to a ConvNextImageProcessor"),
        ({"size": {"height": 224, "width": 224}}, "crop_pct needs a size of {'shortest_edge': n}"),
        ({"size": {"longest_edge": 224}}, "size must be .*shortest_edge"),
        ({"size": {"shortest_edge": 0}}, "integers from 1 to 10000"),
        ({"size": 2.5}, "size must be"),
        ({"size": True}, "integers from 1"),
        ({"crop_pct": 0}, "crop_pct must lie in"),
        ({"crop_pct": "a"}, "crop_pct must be a finite number"),
        ({"do_center_crop": True}, "needs a crop_size"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 3}}, "crop_size must be"),
        ({"resample": 9}, "resample=9"),
        ({"resample": "bicubic"}, "resample='bicubic'"),
        ({"do_resize": "yes"}, "do_resize must be true or false"),
        ({"image_mean": [0.5]}, "image_mean must hold 3 numbers"),
        ({"image_std": [1, 1, 0]}, "image_std must not hold zeros"),
        ({"image_std": [1, 1, float("nan")]}, "finite number"),
        ({"rescale_factor": None, "style": "timm"}, "style='timm' is not known; choose one of 'transformers'"),
        ({"channel_order": "grb"}, "channel_order='grb'"),
        ({"num_channels": 4}, "num_channels=4"),
        ({"num_channels": 1, "channel_order": "bgr"}, "channel_order='bgr'"),
    ],
)
def test_bad_configurations(values, words):
    with pytest.raises(ValueError, match=words):
        ImageProcessor.from_dict(values)


def test_replace():
    assert ImageProcessor().replace(size=64).size == {"shortest_edge": 64}
    with pytest.raises(ValueError, match="did you mean 'resample'"):
        ImageProcessor().replace(resampel=2)
