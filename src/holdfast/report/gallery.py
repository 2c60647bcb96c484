"""Small pictures that travel inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from holdfast.core.errors import DataError
from holdfast.data.decode import decode
from holdfast.report.records import Prediction

SIDE = 96
"""Longest side of a thumbnail in pixels."""


@dataclass(frozen=True)
class Picture:
    """A prediction with its thumbnail as a ``data:`` address, or None where the file cannot be shown, and a remark."""

    prediction: Prediction
    source: str | None
    remark: str = ""


def pictures(predictions: Sequence[Prediction], root: Path) -> list[Picture]:
    """Each prediction with a thumbnail read from below ``root``; files missing, damaged or outside it have none."""
    return [Picture(item, _address(thumbnail(root, item.path))) for item in predictions]


def thumbnail(root: Path, relative: str, side: int = SIDE) -> Image.Image | None:
    """A picture below ``root`` whose longest side is at most ``side`` pixels; None where the file cannot be shown."""
    try:
        base = root.resolve()
        path = (base / relative).resolve()
        if not relative or not path.is_relative_to(base) or not path.is_file():
            return None
        image = decode(path, at_least=side)
    except (DataError, OSError, ValueError):  # ValueError: a null character in the path
        return None
    image.thumbnail((side, side))
    return image


def _address(image: Image.Image | None) -> str | None:
    if image is None:
        return None
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stored.getvalue()).decode("ascii")
