"""Any picture a user may have, as 8-bit RGB."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from holdfast.core.errors import DataError

MAX_PIXELS = 128_000_000
"""Larger pictures are refused before they are decoded (12 000 × 10 000 still passes)."""

ORIENTATION = 0x0112
# Formats with a signature and a decoder of their own: nothing that starts a program (EPS) or guesses (TGA).
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "ICO", "QOI")


class UnreadableImageError(DataError):
    """A file that is no usable picture; ``reason`` says why without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot read {path} as a picture: {reason}")
        self.reason = reason


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's remarks on odd metadata and large sizes; ``read_image`` has limits of its own.

    Enter it once around a group of threads: the filters of ``warnings`` belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def decode(path: str | Path, *, at_least: int | None = None) -> Image.Image:
    """Read a picture as upright 8-bit RGB, whatever its mode.

    The EXIF rotation is applied; transparency is laid on white; of an animation the first frame counts; CMYK,
    palettes and grey are converted; 16-bit grey is scaled by 255/65535, other integers and floats by their
    range (see ``_scaled``).

    Args:
        path: the file.
        at_least: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side is not below
            this number of pixels; None decodes at full size.

    Raises:
        UnreadableImageError: missing, empty, truncated, no picture, or larger than ``MAX_PIXELS``.
    """
    with quiet_pillow():
        return read_image(Path(path), at_least=at_least)


def read_image(path: Path, *, at_least: int | None = None) -> Image.Image:
    """``decode`` for threads: the caller holds ``quiet_pillow``."""
    try:
        with Image.open(path, formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(path, _too_large(f"{image.width}×{image.height} pixels"))
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            return _to_rgb(_upright(image))
    except (MemoryError, DataError):
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(path, _too_large("more")) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(path, _unidentified(path)) from error
    except OSError as error:
        raise UnreadableImageError(path, error.strerror or str(error)) from error
    except Exception as error:  # Pillow's plugins let struct.error, SyntaxError, KeyError … through
        raise UnreadableImageError(path, f"damaged ({type(error).__name__}: {error})") from error


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(found: str) -> str:
    return f"{found} where at most {MAX_PIXELS // 1_000_000} million pixels are allowed"


def _unidentified(path: Path) -> str:
    return "empty file (0 bytes)" if path.stat().st_size == 0 else "not a picture in a known format"


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ORIENTATION, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata beside sound pixels: the picture stays as it is stored
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(np.asarray(image))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _scaled(values: np.ndarray) -> Image.Image:
    """Map grey values of more than 8 bits to 0…255.

    Integers within 0…65535 are 16-bit; floats within 0…1 are fractions, within 0…255 grey levels; anything else
    is stretched from its own minimum and maximum, a constant becoming black. Not-a-number counts as 0.
    """
    whole = np.issubdtype(values.dtype, np.integer)
    grey = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    limits = (65535.0,) if whole else (1.0, 255.0)
    top = next((limit for limit in limits if low >= 0 and high <= limit), None)
    if top is None:
        grey, top = grey - low, (high - low) or 1.0
    return Image.fromarray(np.rint(grey * 255.0 / top).astype(np.uint8)).convert("RGB")
