"""open_image: every mode and source becomes 8-bit RGB or grey; what cannot be read is named in a clear error."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from npresnet.image import ImageError, find_images, open_image


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def encode(image, kind="PNG", **options):
    stream = io.BytesIO()
    if kind == "PPM" and image.mode == "I;16":
        image = image.convert("I")  # for Pillow 10
    image.save(stream, kind, **options)
    return stream.getvalue()


def rgb(source):
    image = open_image(source)
    assert image.mode == "RGB"
    assert image.info == {}
    return np.asarray(image)


# Sources


def test_sources_of_one_picture(tmp_path):
    pixels = noise(5, 7, 3)
    content = encode(Image.fromarray(pixels))
    path = tmp_path / "p.png"
    path.write_bytes(content)
    rewound = io.BytesIO(content)
    rewound.seek(0, os.SEEK_END)  # as after writing
    with open(path, "rb") as stream:
        sources = [path, str(path), content, bytearray(content), memoryview(content), rewound, stream, pixels]
        for source in [*sources, Image.open(path), Image.fromarray(pixels), pixels[:, :, :].copy(order="F")]:
            np.testing.assert_array_equal(rgb(source), pixels)
        assert not stream.closed  # the caller's


def test_pipe_without_seek():
    read, write = os.pipe()
    pixels = noise(4, 4, 3)
    with os.fdopen(write, "wb") as stream:
        stream.write(encode(Image.fromarray(pixels)))
    with os.fdopen(read, "rb") as stream:
        np.testing.assert_array_equal(rgb(stream), pixels)


def test_the_source_is_not_changed():
    image = Image.fromarray(noise(4, 5)).convert("P")
    image.info["transparency"] = bytes(range(9))
    before = image.tobytes(), dict(image.info), image.mode
    result = open_image(image)
    result.paste((1, 2, 3), (0, 0, 5, 4))
    assert (image.tobytes(), dict(image.info), image.mode) == before
    plain = Image.fromarray(noise(4, 5, 3))
    open_image(plain).paste((1, 2, 3), (0, 0, 5, 4))
    np.testing.assert_array_equal(np.asarray(plain), noise(4, 5, 3))


# Modes


def test_grey_and_its_alpha():
    grey, alpha = noise(4, 6), noise(4, 6, seed=1)
    expected = np.stack([grey] * 3, axis=-1)
    for array in (grey, grey[:, :, None], np.stack([grey, alpha], axis=-1)):
        np.testing.assert_array_equal(rgb(array), expected)
    for image in (Image.fromarray(grey), Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])):
        np.testing.assert_array_equal(rgb(image), expected)
        np.testing.assert_array_equal(rgb(encode(image)), expected)
        np.testing.assert_array_equal(np.asarray(open_image(image, channels=1)), grey)


def test_transparency_is_dropped_not_blended():
    pixels = noise(4, 6, 4)
    np.testing.assert_array_equal(rgb(Image.fromarray(pixels)), pixels[:, :, :3])
    np.testing.assert_array_equal(rgb(encode(Image.fromarray(pixels))), pixels[:, :, :3])
    np.testing.assert_array_equal(rgb(pixels), pixels[:, :, :3])


def test_premultiplied_alpha_is_undone():
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[:] = 40, 20, 100, 51  # alpha 51 / 255 = 0.2
    np.testing.assert_array_equal(rgb(Image.frombytes("RGBa", (2, 2), pixels.tobytes()))[0, 0], [200, 100, 255])
    grey = Image.frombytes("La", (2, 2), pixels[:, :, [0, 3]].tobytes())
    np.testing.assert_array_equal(rgb(grey)[0, 0], [200, 200, 200])


def test_palette_with_and_without_transparency():
    palette, index = noise(256, 3), noise(6, 9)
    image = Image.frombytes("P", (9, 6), index.tobytes())
    image.putpalette(palette.tobytes())
    transparent = {"transparency": bytes(range(256))}
    for content in (encode(image), encode(image, **transparent), encode(image, transparency=7), encode(image, "BMP")):
        np.testing.assert_array_equal(rgb(content), palette[index])


def test_one_bit_is_black_and_white():
    bits = noise(5, 11) > 127
    expected = np.stack([bits * np.uint8(255)] * 3, axis=-1)
    np.testing.assert_array_equal(rgb(Image.fromarray(bits)), expected)
    np.testing.assert_array_equal(rgb(encode(Image.fromarray(bits))), expected)
    np.testing.assert_array_equal(rgb(bits), expected)


def test_cmyk():
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255]]], np.uint8)
    expected = [[255, 255, 255], [0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0]]
    image = Image.frombytes("CMYK", (5, 1), inks.tobytes())
    np.testing.assert_array_equal(rgb(image)[0], expected)
    np.testing.assert_array_equal(rgb(encode(image, "TIFF"))[0], expected)
    assert np.asarray(open_image(image, channels=1))[0, [0, 4]].tolist() == [255, 0]


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "RGBX"])
def test_other_colour_spaces_come_out_as_rgb(mode):
    image = Image.new("RGB", (3, 2), (200, 60, 40))
    if mode == "LAB":
        from PIL import ImageCms

        image = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    else:
        image = image.convert(mode)
    np.testing.assert_allclose(rgb(image)[0, 0], [200, 60, 40], atol=3)
    assert open_image(image, channels=1).mode == "L"


def test_grey_of_a_colour_picture_is_luma():
    pixels = noise(8, 8, 3)
    luma = pixels @ [0.299, 0.587, 0.114]  # ITU-R 601
    grey = np.asarray(open_image(pixels, channels=1))
    assert grey.shape == (8, 8)
    assert np.abs(grey - luma).max() < 0.51


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    for kind in ("GIF", "PNG", "TIFF"):
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        assert Image.open(io.BytesIO(content)).n_frames == 2
        assert rgb(content)[1, 1].tolist() == [255, 0, 0]


# More than 8 bits


def png_of_16_bit_colour(pixels):
    """A PNG by hand: Pillow does not write 16-bit colour."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_16_bits_keep_the_high_byte_in_grey_as_in_colour():
    grey = noise(6, 5, dtype=np.uint16)
    high = (grey >> 8).astype(np.uint8)
    expected = np.stack([high] * 3, axis=-1)
    image = Image.fromarray(grey)
    assert image.mode == "I;16"
    swapped = Image.frombytes("I;16B", (5, 6), grey.astype(">u2").tobytes())
    sources = [grey, grey.astype(">u2"), image, swapped, encode(image), encode(image, "TIFF"), encode(image, "PPM")]
    colour = np.stack([grey] * 3, axis=-1)
    for source in [*sources, image.convert("I"), colour, png_of_16_bit_colour(colour)]:
        np.testing.assert_array_equal(rgb(source), expected)
        np.testing.assert_array_equal(np.asarray(open_image(source, channels=1)), high)


def test_every_8_bit_value_survives_16_bits_and_floats():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sources = [levels.astype(np.uint16) * 257, levels / 255, (levels / 255).astype("f4"), levels.astype("i8")]
    sources += [Image.fromarray((levels / 255).astype("f4")), Image.fromarray(levels.astype("i4"))]
    for source in [*sources, encode(Image.fromarray((levels / 255).astype("f4")), "TIFF"), (levels / 255).astype("f2")]:
        np.testing.assert_array_equal(np.asarray(open_image(source, channels=1)), levels)


def test_a_dark_16_bit_file_stays_dark():
    dark = np.full((3, 3), 200, np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        assert not rgb(encode(Image.fromarray(dark), kind)).any()


# Orientation


def test_exif_orientation():
    stored = noise(4, 6, 3)
    upright = {  # by the EXIF standard: where the 0th row and the 0th column of the stored picture belong
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1), 7: np.rot90(stored, 2).transpose(1, 0, 2), 8: np.rot90(stored), 9: stored,
    }  # fmt: skip
    for orientation, expected in upright.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encode(Image.fromarray(stored), exif=exif)
        np.testing.assert_array_equal(rgb(content), expected, err_msg=str(orientation))
        once = open_image(Image.open(io.BytesIO(content)))
        np.testing.assert_array_equal(rgb(once), expected, err_msg=f"{orientation}, opened twice")


def test_damaged_exif_does_not_hide_the_picture():
    pixels = noise(4, 6, 3)
    content = encode(Image.fromarray(pixels), exif=b"Exif\0\0nonsense that is not a TIFF header")
    np.testing.assert_array_equal(rgb(content), pixels)


# Errors


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 32, 32), np.uint8), "channels first.*transpose"),
        (np.zeros((1, 28, 28), np.uint8), "channels first"),
        (np.zeros((32, 32, 5), np.uint8), "5 channels"),
        (np.zeros((2, 8, 8, 3), np.uint8), "list"),
        (np.zeros(9, np.uint8), r"expected \(H, W\)"),
        (np.zeros((0, 0), np.uint8), "empty"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.zeros((4, 4, 0), np.uint8), "empty"),
        (np.zeros((1, 100_001), np.uint8), "100001 x 1 pixels"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.array([[0.0, np.inf]]), "infinite"),
        (np.full((4, 4, 3), 255.0), "up to 255.*divide by 255 or pass uint8"),
        (np.array([[-2.1, 2.6]]), "pixel_values"),
        (np.array([[-0.5, 0.5]]), "down to -0.5"),
        (np.array([[0, 256]]), "0 to 256.*uint16"),
        (np.array([[-1, 6]], np.int8), "-1 to 6"),
        (np.zeros((4, 4), complex), "complex128 has no pixel values"),
        (np.zeros((4, 4), object), "object has no pixel values"),
        (np.full((4, 4), "a"), "no pixel values"),
    ],
)
def test_arrays_that_are_no_pictures(array, words):
    with pytest.raises(ImageError, match=words) as error:
        open_image(array)
    assert str(array.shape) in str(error.value) or "100001" in str(error.value)


@pytest.mark.parametrize("source", [None, 7, ["a.png"], {"image": 1}, object(), iter(())])
def test_things_that_hold_no_picture(source):
    with pytest.raises(ImageError, match=f"cannot read a picture from a .*{type(source).__name__}; expected a path"):
        open_image(source)


def test_paths_that_hold_no_picture(tmp_path):
    empty, text, locked = tmp_path / "empty.jpg", tmp_path / "text.jpg", tmp_path / "missing" / "x.jpg"
    empty.touch()
    text.write_text("not a picture at all")
    for path, words in (
        (empty, "empty"),
        (text, "not a picture in a format"),
        (locked, "no such picture"),
        (tmp_path, "is a directory"),
        (tmp_path / "a\0b", "null"),
        (tmp_path / ("a" * 5000), "too long"),
        ("https://example.org/cat.jpg", "download it first"),
    ):
        with pytest.raises(ImageError, match=words) as error:
            open_image(path)
        assert repr(str(path)) in str(error.value)


def test_streams_that_hold_no_picture(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with open(tmp_path / "a.txt") as stream, pytest.raises(ImageError, match=r"a\.txt.*binary mode"):
        open_image(stream)
    for nothing in (b"", io.BytesIO(b"")):
        with pytest.raises(ImageError, match="empty"):
            open_image(nothing)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_cut_short(kind, tmp_path):
    content = encode(Image.fromarray(noise(40, 40, 3)), kind)
    path = tmp_path / "short"
    path.write_bytes(content[: len(content) // 2])
    for source in (path, content[: len(content) // 2]):
        with pytest.raises(ImageError, match=r"short'|data of \d+ bytes"):
            open_image(source)
    assert open_image(content).size == (40, 40)


def test_cut_short_but_opened_by_the_caller():
    content = encode(Image.fromarray(noise(40, 40, 3)), "JPEG")
    image = Image.open(io.BytesIO(content[: len(content) // 2]))
    with pytest.raises(ImageError, match=r"\(40, 40\) cannot be decoded"):
        open_image(image)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.filterwarnings("ignore")
def test_damage_gives_a_picture_or_an_image_error(kind):
    content = encode(Image.fromarray(noise(20, 20, 3)), kind)
    rng = np.random.default_rng(1)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on the damage
        for _ in range(150):
            damaged = np.frombuffer(content, np.uint8).copy()
            damaged[rng.integers(0, len(damaged) // 2, 4)] = rng.integers(0, 256, 4)
            try:
                assert open_image(damaged.tobytes()).mode == "RGB"
            except ImageError:
                refused += 1
    assert refused > 0


def png_header_only(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + b"IHDR" + header + crc + b"\0\0\0\0IDAT"


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (60_000, 60_000), (2_000_000_000, 2_000_000_000)])
def test_decompression_bomb_is_refused_by_its_header(width, height):
    with pytest.raises(ImageError, match=r"too large to decode safely.*MAX_IMAGE_PIXELS"):
        open_image(png_header_only(width, height))


def test_too_many_pixels_a_side():
    with pytest.raises(ImageError, match="100001 x 2 pixels; at most 100000"):
        open_image(png_header_only(100_001, 2))


def test_eps_is_refused_before_ghostscript_runs():
    content = encode(Image.fromarray(noise(4, 4, 3)), "EPS")
    with pytest.raises(ImageError, match="EPS document"):
        open_image(content)


def test_32_bit_integers_out_of_range():
    for low, high in ((-1, 4), (0, 70_000)):
        with pytest.raises(ImageError, match=f"from {low} to {high}"):
            open_image(Image.fromarray(np.array([[low, high]], np.int32)))


def test_channels_other_than_1_and_3():
    with pytest.raises(ValueError, match="channels=4"):
        open_image(noise(4, 4, 3), channels=4)


# find_images


def test_find_images(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "sub/z.webp", "sub/deep/a.tif", ".git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    below = [tmp_path / name for name in ("a.png", "b.JPG", "sub/deep/a.tif", "sub/z.webp")]
    assert find_images([tmp_path]) == below
    assert find_images(tmp_path) == find_images(str(tmp_path)) == below
    assert find_images([tmp_path / "notes.txt", tmp_path / "sub"]) == [tmp_path / "notes.txt", *below[2:]]
    assert find_images([]) == []


def test_find_images_errors(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ImageError, match=r"holds no pictures.*jpg"):
        find_images([tmp_path])
    with pytest.raises(ImageError, match=r"no such file or directory.*gone\.png"):
        find_images([tmp_path / "gone.png"])
