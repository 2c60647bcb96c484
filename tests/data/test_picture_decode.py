"""Every kind of picture becomes the upright RGB that a viewer shows."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holdfast.core.errors import DataError
from holdfast.data import decode as module
from holdfast.data.decode import decode

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def saved(tmp_path: Path, image: Image.Image, name: str = "a.png", **options) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def pixels(path: Path) -> np.ndarray:
    image = decode(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def half_red(mode: str = "RGB") -> Image.Image:
    """Left half red, right half green, 8 wide, 4 high."""
    image = Image.new("RGB", (8, 4), GREEN)
    image.paste(RED, (0, 0, 4, 4))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_colour_modes(tmp_path: Path, mode: str) -> None:
    np.testing.assert_array_equal(pixels(saved(tmp_path, half_red(mode))), np.asarray(half_red()))


def test_cmyk_jpeg(tmp_path: Path) -> None:
    found = pixels(saved(tmp_path, half_red("CMYK"), "a.jpg", quality=95)).astype(int)
    assert np.abs(found[:, 1] - RED).max() < 30
    assert np.abs(found[:, 6] - GREEN).max() < 30


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_modes(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert(mode)
    np.testing.assert_array_equal(pixels(saved(tmp_path, grey)), [[[0] * 3, [255] * 3]])


def test_alpha_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 51))
    np.testing.assert_array_equal(pixels(saved(tmp_path, image)), [[RED, WHITE, (204, 204, 204)]])
    grey = Image.new("LA", (1, 1), (0, 0))
    np.testing.assert_array_equal(pixels(saved(tmp_path, grey)), [[WHITE]])


def test_palette_with_transparency_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, 0, 0, 255])
    image.putdata([0, 1, 2])
    path = saved(tmp_path, image, transparency=bytes([255, 0, 255]))
    np.testing.assert_array_equal(pixels(path), [[RED, WHITE, (0, 0, 255)]])


def test_transparent_colour_of_an_rgb_png_lies_on_white(tmp_path: Path) -> None:
    path = saved(tmp_path, half_red(), transparency=RED)
    np.testing.assert_array_equal(pixels(path)[0, [0, 7]], [WHITE, GREEN])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 32896, 65535]], np.uint16), [0, 1, 128, 255]),
        (np.array([[0, 65535, 32896, 257]], np.int32), [0, 255, 128, 1]),
        (np.array([[0, 257, 1285]], np.uint16), [0, 1, 5]),
        (np.array([[0, 257, 1285]], np.int32), [0, 1, 5]),
        (np.array([[-100, 0, 0, 100]], np.int32), [0, 128, 128, 255]),
        (np.array([[0.0, 0.2, 0.6, 1.0]], np.float32), [0, 51, 153, 255]),
        (np.array([[0.0, 51.0, 153.0, 254.0]], np.float32), [0, 51, 153, 254]),
        (np.array([[-1.0, 1.0, np.nan, -1.0]], np.float32), [0, 255, 128, 0]),
        (np.array([[-7.0, -7.0]], np.float32), [0, 0]),
    ],
)
def test_more_than_eight_bits_are_scaled(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    path = saved(tmp_path, Image.fromarray(values), "a.tiff")
    np.testing.assert_array_equal(pixels(path)[0, :, 0], expected)


def test_sixteen_bit_png_is_scaled(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[0, 257, 65535]], np.uint16)))
    np.testing.assert_array_equal(pixels(path)[0, :, 1], [0, 1, 255])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    # How a camera stores the upright picture, by the Exif table of "0th row, 0th column" positions.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1], 8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(pixels(path), upright)


def test_damaged_exif_leaves_the_picture(tmp_path: Path) -> None:
    path = saved(tmp_path, half_red(), "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\xff\xff\xff")
    assert pixels(path).shape == (4, 8, 3)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations_give_their_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 4), colour) for colour in (RED, GREEN)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, frames[0], f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(pixels(path), np.broadcast_to(RED, (4, 8, 3)))


def test_reduced_jpeg_keeps_the_shorter_side_above_the_bound(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (400, 300), RED), "a.jpg")
    assert decode(path).size == (400, 300)
    assert decode(path, at_least=75).size == (100, 75)
    assert decode(path, at_least=76).size == (200, 150)
    assert decode(path, at_least=301).size == (400, 300)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.new("L", (1500, 1000)))
    monkeypatch.setattr(module, "MAX_PIXELS", 1_000_000)
    with pytest.raises(DataError, match="1500×1000 pixels where at most 1 million"):
        decode(path)


def test_decompression_bomb_is_refused(tmp_path: Path) -> None:
    """A PNG header that announces 60 000 × 60 000 pixels."""
    whole = saved(tmp_path, Image.new("1", (8, 8))).read_bytes()
    import zlib

    header = b"IHDR" + (60_000).to_bytes(4) + (60_000).to_bytes(4) + whole[24:29]
    (tmp_path / "bomb.png").write_bytes(whole[:12] + header + zlib.crc32(header).to_bytes(4) + whole[33:])
    with pytest.raises(DataError, match="million pixels"):
        decode(tmp_path / "bomb.png")


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    whole = saved(tmp_path, half_red(), "a.bmp").read_bytes()
    (tmp_path / "cut.bmp").write_bytes(whole[:-20])
    for name, reason in {
        "none.png": "No such file",
        "empty.png": "0 bytes",
        "page.eps": "not a picture",
        "cut.bmp": "truncated",
        ".": "directory",
    }.items():
        with pytest.raises(DataError, match=rf"cannot read .*: .*{reason}"):
            decode(tmp_path / name)
