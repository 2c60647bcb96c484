"""What a figure in a result is called, its unit and which direction is good."""

from __future__ import annotations

import math
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class Measure:
    """A measured quantity.

    Attributes:
        key: its key in ``result.json``, such as ``test.accuracy``.
        label: what a reader calls it, without the unit.
        unit: ``%``, ``s``, ``MB`` or empty.
        factor: from the stored number to the shown one.
        digits: decimals shown.
        higher_is_better: None where neither direction is.
    """

    key: str
    label: str
    unit: str = ""
    factor: float = 1.0
    digits: int = 3
    higher_is_better: bool | None = None

    @property
    def axis(self) -> str:
        """Label and unit as an axis or a column shows them."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def gain_unit(self) -> str:
        """The unit of a difference: points where the quantity is a percentage."""
        return "points" if self.unit == "%" else self.unit

    def number(self, value: float) -> str:
        """``value`` in the measure's unit, without naming it."""
        return fixed(value * self.factor, self.digits)

    def text(self, value: float) -> str:
        """``value`` with its unit."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def signed(self, value: float) -> str:
        """A difference in the measure's unit with its sign, without naming the unit.

        Points have one decimal more than percentages, so that the end of an interval seldom rounds to zero.
        """
        shown = fixed(value * self.factor, self.digits + (self.unit == "%"))
        return shown if shown.startswith(MINUS) or not math.isfinite(value) else f"+{shown}"


_KNOWN = {
    "accuracy": Measure("", "accuracy", "%", 100.0, 1, True),
    "mean_class_accuracy": Measure("", "mean class accuracy", "%", 100.0, 1, True),
    "nll": Measure("", "negative log-likelihood", "nats", higher_is_better=False),
    "loss": Measure("", "loss", "nats", higher_is_better=False),
    "ece": Measure("", "expected calibration error", "%", 100.0, 1, False),
    "seconds": Measure("", "time", "s", digits=1, higher_is_better=False),
    "peak_memory_mb": Measure("", "peak memory", "MB", digits=0, higher_is_better=False),
}
_PARTS = {"train": "training", "val": "validation", "test": "test"}


def measure(key: str) -> Measure:
    """The measure of a key; an unknown key is shown under its own name, without unit or direction."""
    part, _, name = key.rpartition(".")
    known = _KNOWN.get(name)
    if known is None or (part and part not in _PARTS):
        return Measure(key, key, digits=4)
    label = f"{_PARTS[part]} {known.label}" if part else known.label
    return Measure(key, label, known.unit, known.factor, known.digits, known.higher_is_better)


def fixed(value: float, digits: int) -> str:
    """A number with a set count of decimals and a true minus sign; a dash for what is not finite."""
    if not math.isfinite(value):
        return DASH
    shown = f"{value:.{digits}f}"
    if float(shown) == 0:
        shown = shown.removeprefix("-")
    return shown.replace("-", MINUS)


def counted(number: int, thing: str) -> str:
    """A number of things: ``1 run``, ``3 runs``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """A time for reading: ``14.2 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
