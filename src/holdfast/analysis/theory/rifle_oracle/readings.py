"""What the text of RIFLE's MLP experiment leaves open, as a declared grid of readings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from holdfast.core.errors import UsageError
from holdfast.core.registry import nearest


@dataclass(frozen=True)
class Reading:
    """One complete way to do the experiment of §4.6.2 of Li et al. 2020 (RIFLE).

    Attributes:
        name: on the command line.
        about: what it reads otherwise than ``base``.
        inputs: width of the input.
        hidden: units of the hidden layer.
        samples: training samples of each task.
        weights: of the oracles: ``layer``, U(±1/√fan_in), as a fresh linear layer has them; ``scaled``,
            N(0, 1/fan_in); ``unit``, N(0, 1).
        noise: deviation of the noise on training labels.
        batch: samples in a step.
        source_epochs: of the source model's training, from a fresh network, by SGD without momentum or decay.
        source_lr: its rate, constant.
        epochs: of fine-tuning.
        optimizer: of fine-tuning.
        lr: its initial rate, of body and head alike.
        momentum: of SGD.
        cosine: whether the rate runs down a cosine; RIFLE's head follows its own cycle.
        fresh_head: whether fine-tuning begins with a new second layer, instead of the source model's.
        decay: α of L2, as ½α‖w‖² on both layers.
        rifle: RIFLE's text form, added to that L2.
    """

    name: str
    about: str
    inputs: int = 100
    hidden: int = 50
    samples: int = 1000
    weights: Literal["layer", "scaled", "unit"] = "layer"
    noise: float = 0.1
    batch: int = 32
    source_epochs: int = 40
    source_lr: float = 0.1
    epochs: int = 40
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    cosine: bool = True
    fresh_head: bool = False
    decay: float = 1e-4
    rifle: str = "rifle(periods=4)"

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides a result: everything but the words."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "about")}

    @property
    def arms(self) -> dict[str, str]:
        """The two ways of fine-tuning that are compared, as text forms for ``holdfast.compose``."""
        l2 = f"l2(alpha={self.decay})"
        return {"l2": l2, "rifle": f"{l2}+{self.rifle}"}


_BASE = Reading(
    "base",
    "input as wide as the printed 100 × 50 matrix; oracles drawn as fresh linear layers are; 0.01 a variance, as "
    "N(·, ·) has it; fine-tuning as in §4.2 (40 epochs of SGD with momentum, cosine), from both layers of the source "
    "model, as §4.6.2 says",
)


def _other(name: str, about: str, **changes: Any) -> Reading:
    return replace(_BASE, name=name, about=about, **changes)


READINGS: tuple[Reading, ...] = (
    _BASE,
    _other("wide-input", "input of 200, as the text says where it draws samples", inputs=200),
    _other("scaled-weights", "oracles from N(0, 1/fan_in); half the rates", weights="scaled", source_lr=0.05, lr=0.005),
    _other(
        "unit-weights",
        "oracles from N(0, 1), labels of deviation 50; rates that this scale stands",
        weights="unit",
        source_lr=3e-4,
        lr=3e-5,
    ),
    _other("low-noise", "0.01 a deviation", noise=0.01),
    _other("fresh-head", "fine-tuning begins with a new second layer", fresh_head=True),
    _other("vanilla-sgd", "fine-tuning by SGD without momentum too, at ten times the rate", momentum=0.0, lr=0.1),
    _other("adam", "fine-tuning by Adam at rate 1e-3", optimizer="adam", lr=1e-3),
    _other("constant-rate", "no cosine: a constant rate, but for RIFLE's head", cosine=False),
    _other("long", "four times the epochs of fine-tuning", epochs=160),
    _other("strong-decay", "ten times the strength of L2", decay=1e-3),
    _other("one-reset", "two periods, hence one reset", rifle="rifle(periods=2)"),
    _other("four-resets", "five periods, hence the four resets of §4.6.1", rifle="rifle(periods=5)"),
    _other("resets-alone", "RIFLE-A: resets, and the head's rate as the body's", rifle="rifle(periods=4, variant='A')"),
    _other(
        "cycle-alone",
        "RIFLE-B: the head's cyclic rate without a reset; a control, added after the others had been seen",
        rifle="rifle(periods=4, variant='B')",
    ),
    _other("printed-cycle", "the head's rate as Algorithm 1 prints it", rifle="rifle(periods=4, cycle='printed')"),
    _other("long-low-noise", "0.01 a deviation, and four times the epochs of fine-tuning", noise=0.01, epochs=160),
)
"""One change of ``base`` each, and one pair of changes; all but ``cycle-alone`` were declared before any comparison was
looked at.

Rates were chosen on the source model's training alone, to be stable.
"""


def chosen(name: str) -> tuple[Reading, ...]:
    """The reading of this name, or every one for ``all``.

    Raises:
        UsageError: there is none of this name.
    """
    known = {reading.name: reading for reading in READINGS}
    if name == "all":
        return READINGS
    if name not in known:
        raise UsageError(f"unknown reading {name!r}{nearest(name, [*known, 'all'])}")
    return (known[name],)
