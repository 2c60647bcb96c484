"""The shape in which a store keeps pictures: shorter side alike, squeezed to a square, or padded to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from holdfast.core.errors import UsageError

Fit = Literal["shorter", "square", "padded"]


@dataclass(frozen=True)
class Frame:
    """A square that every picture is brought to.

    Attributes:
        side: of the square, in pixels, at least 1.
        fit: ``square`` resizes both sides to it, aspect lost; ``padded`` resizes the longer side to it, aspect kept,
            and lays the picture on the middle of a black square.

    Raises:
        UsageError: the side is below one.
    """

    side: int
    fit: Literal["square", "padded"]

    def __post_init__(self) -> None:
        if self.side < 1:
            raise UsageError(f"expected a side of at least 1 pixel, found {self.side}")

    def __str__(self) -> str:
        return f"{self.side}-{self.fit}"

    def apply(self, image: Image.Image) -> Image.Image:
        """The RGB picture in the frame, ``side`` × ``side``; Pillow's antialiased bilinear resize."""
        if self.fit == "square":
            return image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        longer = max(image.size)
        width, height = (max(1, round(self.side * length / longer)) for length in image.size)
        framed = Image.new("RGB", (self.side, self.side))
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        framed.paste(resized, ((self.side - width) // 2, (self.side - height) // 2))
        return framed


Side = int | Frame
"""Length of the shorter side, aspect kept; or a square."""


def side_of(side: int, fit: Fit) -> Side:
    """The kept shape of this side and fit."""
    return side if fit == "shorter" else Frame(side, fit)


def pixels(side: Side) -> int:
    """Length of the side that a kept picture has at least; padded pictures excepted, whose longer one has it."""
    return side.side if isinstance(side, Frame) else side
