"""How the papers prepare pictures: what is kept, what is drawn in training, what is cut out for testing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.core.errors import UsageError
from holdfast.data.augment import TrainTransform, keyed_uniforms
from holdfast.data.frame import Fit

SIZE = 224
"""Side of the crops in all four papers, in pixels."""

_BLUR = torch.tensor([1, 2, 1])


@dataclass(frozen=True)
class Protocol:
    """The pictures of a paper. Where its text leaves a number open, ``ours`` says so.

    Attributes:
        kept: side that pictures are brought to, for crops of 224; another crop size scales it.
        fit: see ``Frame``; ``shorter`` keeps the aspect.
        flip: probability of mirroring in training.
        blur: probability of smoothing in training.
        scale: bounds of the magnification in training.
        degrees: bound of the rotation in training, either way.
        ten_crop: whether testing averages ten crops; else the centre.
        ours: what the paper leaves open.
    """

    kept: int
    fit: Fit
    flip: float = 0.0
    blur: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    degrees: float = 0.0
    ten_crop: bool = False
    ours: str = ""

    @property
    def crop(self) -> float:
        """Share of the kept side that a crop covers."""
        return SIZE / self.kept

    def train(self, size: int, seed: int) -> CropTransform:
        """The training transform for crops of ``size``."""
        return CropTransform(size, seed=seed, flip=self.flip, blur=self.blur, scale=self.scale, degrees=self.degrees)


_BLURRED = (
    "half of the pictures are smoothed, by (1 2 1)/4 both ways; the authors' code jitters colours under that name"
)

PROTOCOLS: dict[str, Protocol] = {
    "zhong2020": Protocol(
        250,
        "padded",
        scale=(0.95, 1.05),
        degrees=5.0,
        ten_crop=True,
        ours="crops of 224; jitter is their random place; magnified 0.95 to 1.05, turned up to 5 degrees; no mirror",
    ),
    "li2018": Protocol(256, "square", flip=0.5, blur=0.5, ours=_BLURRED),
    "li2018-star": Protocol(256, "shorter", flip=0.5, blur=0.5, ten_crop=True, ours=_BLURRED),
    "wan2019": Protocol(256, "square", flip=0.5, ours="centre crop for testing"),
    "li2020": Protocol(256, "shorter", flip=0.5, ours="centre crop for testing"),
}
"""By name; ``li2018-star`` is that of the rows with a star in its tables."""


def train_transform(name: str, size: int, seed: int) -> Callable[..., Tensor]:
    """The training transform of a protocol, or of ``crops``, our own.

    Raises:
        UsageError: no protocol of that name.
    """
    if name == "crops":
        return TrainTransform(size, seed=seed)
    if name not in PROTOCOLS:
        raise UsageError(f"unknown preparation of pictures {name!r}; there are: crops, {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name].train(size, seed)


class CropTransform:
    """A random crop of ``size`` × ``size`` out of a kept picture, slightly turned and magnified, smoothed, mirrored.

    The picture is magnified by z and turned by φ about its centre (bilinear, black outside), then the crop is cut at
    a uniform place; *where* z is uniform over ``scale`` and φ over ±``degrees``. With z = 1 and φ = 0 the crop is
    the picture's own bytes. The result depends on the picture, ``seed``, ``epoch`` and ``sample`` only.

    Args:
        size: side of the result, in pixels.
        seed: of all draws.
        flip: probability of mirroring.
        blur: probability of smoothing by (1 2 1)/4 along both axes, edges repeated.
        scale: bounds of z, above 0.
        degrees: bound of φ, in [0, 180].

    Raises:
        UsageError: a bound out of range.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int,
        flip: float = 0.5,
        blur: float = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        degrees: float = 0.0,
    ) -> None:
        if not (size >= 1 and 0 <= flip <= 1 and 0 <= blur <= 1 and 0 < scale[0] <= scale[1] and 0 <= degrees <= 180):
            raise UsageError(
                "expected size >= 1, 0 <= flip <= 1, 0 <= blur <= 1, 0 < scale with the lower bound first and "
                f"0 <= degrees <= 180; found size={size}, flip={flip}, blur={blur}, scale={scale}, degrees={degrees}"
            )
        self.size, self.seed = size, seed
        self.flip, self.blur = flip, blur
        self.scale, self.degrees = scale, degrees

    def __call__(self, image: Tensor, *, epoch: int, sample: int) -> Tensor:
        """Augment one picture, uint8 (C, H, W) with H and W at least ``size``, to uint8 (C, size, size).

        Raises:
            UsageError: the picture is smaller than the crop.
        """
        height, width = image.shape[-2:]
        if min(height, width) < self.size:
            raise UsageError(f"a crop of {self.size} does not fit into a kept picture of {height}×{width}")
        down, right, turn, zoom, mirror = keyed_uniforms(self.seed, epoch, sample)
        (smooth, *_) = keyed_uniforms(self.seed, epoch, sample, 1)
        top, left = int(down * (height - self.size + 1)), int(right * (width - self.size + 1))
        magnified = self.scale[0] + zoom * (self.scale[1] - self.scale[0])
        turned = self.degrees * (2 * turn - 1)
        crop = window(image, top, left, self.size, magnified=magnified, degrees=turned)
        if smooth < self.blur:
            crop = smoothed(crop)
        return crop.flip(-1) if mirror < self.flip else crop


def window(image: Tensor, top: int, left: int, size: int, *, magnified: float = 1.0, degrees: float = 0.0) -> Tensor:
    """A window of the picture magnified and turned about its centre, anticlockwise: uint8 (C, size, size).

    The pixel at p of the turned picture is the original's at ``c + R(φ)(p − c)/z``, interpolated, black outside;
    *where* c is the centre, φ the angle and z the magnification.
    """
    if magnified == 1 and degrees == 0:
        return image[:, top : top + size, left : left + size].clone(memory_format=torch.contiguous_format)
    height, width = image.shape[-2:]
    y = torch.arange(top, top + size, dtype=torch.float64).add(0.5 - height / 2).view(-1, 1) / magnified
    x = torch.arange(left, left + size, dtype=torch.float64).add(0.5 - width / 2).view(1, -1) / magnified
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # in units of half the picture, as grid_sample wants them
    grid = torch.stack([(cos * x - sin * y) * 2 / width, (sin * x + cos * y) * 2 / height], dim=-1)
    found = F.grid_sample(image.unsqueeze(0).float(), grid.unsqueeze(0).float(), align_corners=False)
    return found.squeeze(0).round_().clamp_(0, 255).to(torch.uint8)


def smoothed(image: Tensor) -> Tensor:
    """The picture filtered by (1 2 1)/4 along both axes, edges repeated: uint8, rounded half up, the same shape."""
    padded = F.pad(image.unsqueeze(0).float(), (1, 1, 1, 1), mode="replicate")
    kernel = torch.outer(_BLUR, _BLUR).float().expand(image.shape[0], 1, 3, 3)
    return F.conv2d(padded, kernel, groups=image.shape[0]).squeeze(0).add_(8).div_(16).floor_().to(torch.uint8)
