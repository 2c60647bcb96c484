"""From a kept picture to the network's input size: uint8 in, uint8 out, on the CPU; and to floats, per batch."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.core.errors import UsageError

DRAWS = 5


def keyed_uniforms(*key: int) -> tuple[float, ...]:
    """``DRAWS`` numbers in [0, 1), a function of the key alone (BLAKE2b): no generator's state is touched."""
    packed = struct.pack(f"<{len(key)}Q", *(part % 2**64 for part in key))
    digest = hashlib.blake2b(packed, digest_size=8 * DRAWS).digest()
    return tuple((word >> 11) * 2.0**-53 for word in struct.unpack(f"<{DRAWS}Q", digest))


def eval_side(size: int, crop_ratio: float) -> int:
    """Shorter side to which a picture is resized before a centre crop of ``size``: ``round(size / crop_ratio)``."""
    if size < 1 or not 0 < crop_ratio <= 1:
        raise UsageError(f"expected a size of at least 1 and a crop ratio in (0, 1], found {size} and {crop_ratio}")
    return round(size / crop_ratio)


class TrainTransform:
    """Random resized crop and horizontal flip.

    A window of ``u`` of the picture's area and aspect ratio ``r`` is resized to ``size`` × ``size`` (antialiased
    bilinear); *where* u is uniform over ``scale`` and log r uniform over the logarithms of ``ratio``. A window that
    is longer than the picture is cut to it, and its place is uniform. Half of the pictures are mirrored.
    The result depends on the picture, ``seed``, ``epoch`` and ``sample`` only.

    Args:
        size: side of the result, in pixels.
        seed: of all draws.
        scale: bounds of the window's area, as a share of the picture's.
        ratio: bounds of the window's width over its height.
        flip: probability of mirroring.

    Raises:
        UsageError: a bound out of range.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int,
        scale: tuple[float, float] = (0.5, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
    ) -> None:
        if not (size >= 1 and 0 < scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1] and 0 <= flip <= 1):
            raise UsageError(
                "expected size >= 1, 0 < scale <= 1, 0 < ratio and 0 <= flip <= 1, lower bounds first; "
                f"found size={size}, scale={scale}, ratio={ratio}, flip={flip}"
            )
        self.size = size
        self.seed = seed
        self.scale = scale
        self.ratio = ratio
        self.flip = flip

    def window(self, height: int, width: int, draws: Sequence[float]) -> tuple[int, int, int, int]:
        """Top, left, height and width of the window that the first four draws choose."""
        area = (self.scale[0] + draws[0] * (self.scale[1] - self.scale[0])) * height * width
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        ratio = math.exp(low + draws[1] * (high - low))
        tall = min(height, max(1, round(math.sqrt(area / ratio))))
        wide = min(width, max(1, round(math.sqrt(area * ratio))))
        return int(draws[2] * (height - tall + 1)), int(draws[3] * (width - wide + 1)), tall, wide

    def __call__(self, image: Tensor, *, epoch: int, sample: int) -> Tensor:
        """Augment one picture, uint8 (C, H, W), to uint8 (C, size, size)."""
        draws = keyed_uniforms(self.seed, epoch, sample)
        top, left, tall, wide = self.window(image.shape[-2], image.shape[-1], draws)
        crop = resize(image[:, top : top + tall, left : left + wide], (self.size, self.size))
        return crop.flip(-1) if draws[4] < self.flip else crop


class EvalTransform:
    """Centre crop of ``size`` after the shorter side is resized to ``size / crop_ratio``.

    Args:
        size: side of the result, in pixels.
        crop_ratio: share of the shorter side that is kept, in (0, 1].

    Raises:
        UsageError: an argument out of range.
    """

    def __init__(self, size: int, crop_ratio: float = 0.875) -> None:
        self.size = size
        self.crop_ratio = crop_ratio
        self.side = eval_side(size, crop_ratio)

    def __call__(self, image: Tensor, *, epoch: int = 0, sample: int = 0) -> Tensor:
        """Crop one picture, uint8 (C, H, W), to uint8 (C, size, size)."""
        image = resize_shorter(image, self.side)
        top = round((image.shape[-2] - self.size) / 2)
        left = round((image.shape[-1] - self.size) / 2)
        return image[:, top : top + self.size, left : left + self.size].clone(memory_format=torch.contiguous_format)


class TenCrop:
    """Four corners and the centre, and the same of the mirrored picture, after ``EvalTransform``'s resize.

    Order: top left, top right, bottom left, bottom right, centre, then the five of the mirrored picture. With a
    crop ratio of 1 the crops of a square picture coincide.

    Args:
        size: side of the crops, in pixels.
        crop_ratio: share of the shorter side that a crop covers, in (0, 1].

    Raises:
        UsageError: an argument out of range.
    """

    def __init__(self, size: int, crop_ratio: float = 0.875) -> None:
        self.size = size
        self.centre = EvalTransform(size, crop_ratio)

    def __call__(self, image: Tensor, *, epoch: int = 0, sample: int = 0) -> Tensor:
        """Crop one picture, uint8 (C, H, W), to uint8 (10, C, size, size)."""
        image = resize_shorter(image, self.centre.side)
        return torch.stack([*self._five(image), *self._five(image.flip(-1))])

    def _five(self, image: Tensor) -> list[Tensor]:
        s = self.size
        height, width = image.shape[-2:]
        corners = [image[:, top : top + s, left : left + s] for top in (0, height - s) for left in (0, width - s)]
        return [*corners, self.centre(image)]


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bilinear resize of a uint8 (C, H, W) picture to (height, width), always to new memory.

    Within one grey level of Pillow's resize, whose intermediate results are rounded otherwise.
    """
    if image.shape[-2:] == size:
        return image.clone(memory_format=torch.contiguous_format)  # the store's own bytes must stay as they are
    return F.interpolate(image.unsqueeze(0), size=size, mode="bilinear", antialias=True).squeeze(0)


def resize_shorter(image: Tensor, side: int) -> Tensor:
    """Resize the shorter side of a uint8 (C, H, W) picture to ``side``, aspect kept."""
    height, width = image.shape[-2:]
    shorter = min(height, width)
    if shorter == side:
        return image
    return resize(image, (int(side * height / shorter), int(side * width / shorter)))


def normalise(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``(x / 255 − mean) / std`` per channel, on the batch's device.

    Args:
        batch: uint8, shape (…, C, H, W).
        mean: of each channel, on the scale 0…1.
        std: of each channel, on the scale 0…1, above 0.

    Returns:
        float32, the batch's shape.
    """
    scale, shift = _affine(tuple(mean), tuple(std), batch.device)
    return torch.addcmul(shift, batch.to(torch.float32), scale)


@lru_cache(maxsize=16)
def _affine(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    # Kept per device: a copy to the accelerator at every step would wait for it.
    scale = 1.0 / (255.0 * torch.tensor(std, dtype=torch.float64))
    shift = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
    return scale.float().view(-1, 1, 1).to(device), shift.float().view(-1, 1, 1).to(device)
