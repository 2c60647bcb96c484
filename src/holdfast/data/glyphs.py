"""The demo's source task: printed characters from matplotlib's own fonts, deformed until they look written.

The pictures take the form of the target's (scikit-learn's digits, see ``holdfast.data.digits``): a black-and-white
raster of 32×32 points that the character fills from top to bottom, counted in blocks of 4×4 into 8×8 greys 0…16.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.core.errors import DataError

LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
GREEK = "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπρσφχψω"
# No digits: as in a user's transfer, the target's classes are new to the network.
CHARACTERS = LATIN + GREEK
# Named one by one: a font that a later matplotlib adds must not change the task.
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
RASTER = 32
CELLS = 8
_TEMPLATE = 64


@dataclass(frozen=True)
class Glyphs:
    """Every character in every font, undeformed.

    Attributes:
        images: (N, 1, 64, 64), float32 in [0, 1], ink is 1; softened so that a threshold sets the stroke's width.
        labels: (N,) int64, the place of the character in ``classes``.
        classes: the characters.
    """

    images: Tensor
    labels: Tensor
    classes: str


@dataclass(frozen=True)
class Deformation:
    """How far a glyph is bent; every draw is uniform within ± the bound unless stated.

    Attributes:
        rotation: radians.
        shear: horizontal shift per unit of height.
        stretch: logarithm of the scale of each axis.
        shift: share of the picture's half width.
        elastic: standard deviation of a smooth displacement field, share of the half width.
        squeeze: mean logarithm of the scale by which the width shrinks; written digits are narrower than printed ones.
        broad: lowest threshold on the softened ink, relative to its peak; low is a broad stroke.
        thin: highest threshold; high is a thin stroke.
        ragged: standard deviation of smooth noise on the threshold, which frays and breaks strokes.
    """

    rotation: float = 0.22
    shear: float = 0.35
    stretch: float = 0.15
    shift: float = 0.06
    elastic: float = 0.12
    squeeze: float = 0.15
    broad: float = 0.18
    thin: float = 0.48
    ragged: float = 0.07


def render(characters: str = CHARACTERS, fonts: tuple[str, ...] = FONTS) -> Glyphs:
    """Draw every character in every font that has it, as large as the picture allows, proportions kept.

    Args:
        characters: each becomes a class.
        fonts: file stems of fonts that matplotlib ships.

    Raises:
        DataError: this matplotlib ships no such font, or none of the fonts has one of the characters.
    """
    pictures, labels = [], []
    for path in _font_paths(fonts):
        covered = _covered(path)
        for label, character in enumerate(characters):
            if ord(character) in covered:
                pictures.append(_draw(path, character))
                labels.append(label)
    absent = [character for label, character in enumerate(characters) if label not in set(labels)]
    if absent or not characters:
        raise DataError(f"expected fonts that have every character; none has {''.join(absent)!r}: leave these out")
    return Glyphs(_soften(torch.stack(pictures)), torch.tensor(labels), characters)


def deform(images: Tensor, generator: torch.Generator, deformation: Deformation | None = None) -> Tensor:
    """Bend glyphs at random and count them into cells as the target's pictures were.

    Args:
        images: (B, 1, 64, 64) from ``Glyphs``.
        generator: the only source of randomness.
        deformation: the bounds.

    Returns:
        (B, 1, 8, 8), multiples of 1/16 in [0, 1].
    """
    bounds = deformation or Deformation()
    grid = _affine_grid(len(images), generator, bounds) + _elastic_field(len(images), generator, bounds)
    ink = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    ink = ink / ink.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    threshold = bounds.broad + (bounds.thin - bounds.broad) * torch.rand(len(images), 1, 1, 1, generator=generator)
    threshold = threshold + bounds.ragged * _smooth_noise(len(images), 1, 10, generator)
    black = (ink > threshold.clamp_min(0.08)).float()
    return F.avg_pool2d(black, RASTER // CELLS)


def as_input(cells: Tensor) -> Tensor:
    """Make network input of greys in [0, 1]: (B, 1, 8, 8) → (B, 3, 16, 16), bilinear, roughly centred and scaled."""
    picture = F.interpolate(cells, scale_factor=2, mode="bilinear", align_corners=False)
    return ((picture - 0.3) / 0.35).expand(-1, 3, -1, -1).contiguous()


def _font_paths(fonts: tuple[str, ...]) -> list[Path]:
    import matplotlib as mpl

    folder = Path(mpl.get_data_path(), "fonts", "ttf")
    paths = [folder / f"{font}.ttf" for font in fonts]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"expected matplotlib's fonts in {folder}; missing: {', '.join(missing)}; name fonts it ships")
    return paths


def _covered(font: Path) -> set[int]:
    from matplotlib.ft2font import FT2Font

    return set(FT2Font(str(font)).get_charmap())


def _draw(font: Path, character: str) -> Tensor:
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    face = ImageFont.truetype(str(font), 2 * _TEMPLATE)
    canvas = Image.new("L", (4 * _TEMPLATE, 4 * _TEMPLATE))
    ImageDraw.Draw(canvas).text((_TEMPLATE, _TEMPLATE), character, fill=255, font=face)
    box = canvas.getbbox()
    if box is None:
        raise DataError(f"expected ink for {character!r} in {font.name}, found none; leave this character or font out")
    glyph = canvas.crop(box)
    scale = (_TEMPLATE - 4) / max(glyph.size)
    width, height = (max(2, round(side * scale)) for side in glyph.size)
    picture = Image.new("L", (_TEMPLATE, _TEMPLATE))
    resized = glyph.resize((width, height), Image.Resampling.BOX)
    picture.paste(resized, ((_TEMPLATE - width) // 2, (_TEMPLATE - height) // 2))
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255.0)[None]


def _soften(images: Tensor, sigma: float = 2.5) -> Tensor:
    reach = torch.arange(-8, 9, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (reach / sigma) ** 2)
    kernel = kernel / kernel.sum()
    rows = F.conv2d(images, kernel.view(1, 1, 1, -1), padding=(0, 8))
    return F.conv2d(rows, kernel.view(1, 1, -1, 1), padding=(8, 0))


def _uniform(count: int, bound: float, generator: torch.Generator) -> Tensor:
    return bound * (2 * torch.rand(count, generator=generator) - 1)


def _affine_grid(count: int, generator: torch.Generator, bounds: Deformation) -> Tensor:
    angle, shear = _uniform(count, bounds.rotation, generator), _uniform(count, bounds.shear, generator)
    wide = torch.exp(bounds.squeeze + _uniform(count, bounds.stretch, generator))
    high = torch.exp(_uniform(count, bounds.stretch / 2, generator))
    right, down = (_uniform(count, bounds.shift, generator) for _ in range(2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack(
        [
            torch.stack([cos * wide, (shear * cos - sin) * high, right], dim=1),
            torch.stack([sin * wide, (shear * sin + cos) * high, down], dim=1),
        ],
        dim=1,
    )
    return F.affine_grid(theta, [count, 1, RASTER, RASTER], align_corners=False)


def _elastic_field(count: int, generator: torch.Generator, bounds: Deformation) -> Tensor:
    return bounds.elastic * _smooth_noise(count, 2, 4, generator).permute(0, 2, 3, 1)


def _smooth_noise(count: int, channels: int, knots: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randn(count, channels, knots, knots, generator=generator)
    return F.interpolate(coarse, size=(RASTER, RASTER), mode="bicubic", align_corners=True)
