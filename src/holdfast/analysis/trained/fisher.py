"""The diagonal Fisher information layer by layer: what the source task depends on (L2-SP, §5.3, Figure 5)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.analysis.boxes import MEANING, Box, box_of, draw_boxes
from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.finding import Finding
from holdfast.core.errors import DataError, UsageError
from holdfast.core.information import RECORD
from holdfast.core.tensorfile import read_notes, read_tensors
from holdfast.report.measures import fixed
from holdfast.report.palette import BLUE
from holdfast.report.svg import chart

_ASIDE = ("norms", "skipped")  # of the record: one number for each parameter, names of files


@dataclass(frozen=True)
class Spread:
    """F of one parameter tensor.

    Attributes:
        name: of the parameter.
        shape: of the tensor.
        zeros: how many of its numbers are zero: they have no place on a logarithmic axis.
        mean: of all, zeros included.
        positive: quantiles of all others; None without any.
    """

    name: str
    shape: tuple[int, ...]
    zeros: int
    mean: float
    positive: Box | None

    @property
    def count(self) -> int:
        """Numbers in the tensor."""
        return self.zeros + (0 if self.positive is None else self.positive.count)

    @property
    def layer(self) -> str:
        """Module path of the parameter."""
        return self.name.rpartition(".")[0] or self.name

    def as_data(self) -> dict[str, Any]:
        """For a finding."""
        positive = None if self.positive is None else self.positive.as_data()
        return {
            "parameter": self.name,
            "shape": list(self.shape),
            "count": self.count,
            "zeros": self.zeros,
            "mean": self.mean,
            "positive": positive,
        }


def fisher(file: Path) -> Finding:
    """Show what ``holdfast fisher`` has measured: box plots of the weights of each layer, on a logarithmic axis.

    Every parameter is in the data. Drawn are those with two axes or more, as are the weights of convolutions and linear
    layers; where there is none, all.

    Raises:
        UsageError: no such file, or it holds no Fisher information.
        DataError: it is damaged, or holds numbers that F cannot be.
    """
    tensors, record = _read(file)
    spreads = [spread_of(name, tensors[name]) for name in in_order(tensors, record)]
    layers = [each for each in spreads if len(each.shape) > 1] or spreads
    return Finding(
        analysis="fisher",
        title=f"The Fisher information of {record.get('model', 'a network')}, layer by layer",
        text=_in_words(layers, record),
        data={"parameters": [each.as_data() for each in spreads], "drawn": [each.name for each in layers]},
        figures=[_figure(layers, record)] if any(each.positive for each in layers) else [],
        inputs={"file": str(file), **{name: value for name, value in record.items() if name not in _ASIDE}},
        notes=_notes(spreads, layers, record),
    )


def spread_of(name: str, F: Tensor) -> Spread:
    """Zeros, mean, and quantiles of the rest of a tensor of F.

    Raises:
        DataError: it is not finite and ≥ 0 throughout, or empty.
    """
    if not F.numel() or not bool((F >= 0).all()) or not bool(F.isfinite().all()):
        raise DataError(f"{name} is not finite and >= 0 throughout, as F is; measure it anew with holdfast fisher")
    flat = F.double().flatten()
    positive = flat[flat > 0]
    return Spread(name, tuple(F.shape), len(flat) - len(positive), float(flat.mean()), box_of(positive.numpy()))


def in_order(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> list[str]:
    """Names of the parameters in the network's order, which the record has; else with numbers in order."""
    known = record.get("norms")
    if isinstance(known, dict) and known.keys() >= tensors.keys():
        return [name for name in known if name in tensors]
    return sorted(tensors, key=lambda name: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", name)])


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    notes = read_notes(file)
    try:
        record = dict(json.loads(notes[RECORD]))
    except (KeyError, ValueError, TypeError):
        raise UsageError(f"{file} holds no Fisher information; expected a file that 'holdfast fisher' wrote") from None
    tensors, _ = read_tensors(file)
    if not tensors:
        raise DataError(f"{file} holds no parameters; measure it anew with holdfast fisher")
    return tensors, record


def _in_words(layers: Sequence[Spread], record: Mapping[str, Any]) -> str:
    known = [(each.layer, each.positive) for each in layers if each.positive is not None]
    how = _how(record)
    if not known:
        return f"F {how} is zero throughout."
    (first, box), rest = known[0], [each for _, each in known[1:]]
    text = f"F {how}. In the first layer, {first}, half of the values above zero exceed {_short(box.median)}"
    if rest:
        others = float(torch.tensor([each.median for each in rest]).double().median())
        steady = sum(each.q3 <= 10 * each.q1 for each in rest)
        text += (
            f", {_short(box.median / others)} times the median of the {len(rest)} other layers' medians, "
            f"{_short(others)}. The middle half of the first layer spans a factor of {_short(box.q3 / box.q1)}; in "
            f"{steady} of the {len(rest)} others it lies within one order of magnitude"
        )
    zeros, count = sum(each.zeros for each in layers), sum(each.count for each in layers)
    return f"{text}. Zero are {zeros} of the {count} values shown ({_share(zeros, count)})."


def _short(value: float) -> str:
    """Two digits, ``390`` rather than ``3.9e+02``."""
    return f"{float(f'{value:.2g}'):g}"


def _share(part: int, whole: int) -> str:
    return f"{fixed(100 * part / whole, 1)} %" if 1000 * part >= whole else "< 0.1 %"


def _how(record: Mapping[str, Any]) -> str:
    labels = "all labels" if record.get("kind") == "exact" else f"{record.get('labels')} label(s), {record.get('kind')}"
    return f"of {record.get('model')} on {record.get('samples')} pictures ({labels}, {record.get('inputs')} inputs)"


def _notes(spreads: Sequence[Spread], layers: Sequence[Spread], record: Mapping[str, Any]) -> list[str]:
    notes = []
    if len(layers) < len(spreads):
        notes.append(f"{len(spreads) - len(layers)} biases and normalisation parameters are in the data alone.")
    if record.get("inputs") == "target":
        notes.append("Measured on target inputs through the source head, where the paper takes source inputs.")
    if record.get("skipped"):
        notes.append(f"{len(record['skipped'])} files could not be read when F was measured.")
    return notes


def _figure(layers: Sequence[Spread], record: Mapping[str, Any]) -> Drawn:
    with chart(min(13.0, max(4.6, 1.4 + 0.2 * len(layers))), 4.2) as (figure, axes):
        draw_boxes(axes, [each.positive for each in layers], [each.layer for each in layers], BLUE)
        axes.set_yscale("log")
        for place, each in enumerate(layers):
            if each.zeros:
                share = f"{_share(each.zeros, each.count)} zero"
                across = axes.get_xaxis_transform()
                axes.text(place, 1.01, share, transform=across, rotation=90, fontsize=6, ha="center", va="bottom")
        axes.set_xlabel("layer, from input to output")
        axes.set_ylabel("diagonal Fisher information (no unit)")
        known = [(each.layer, each.positive.median) for each in layers if each.positive is not None]
        ends = ", ".join(f"{layer} {_short(median)}" for layer, median in dict([*known[:1], *known[-1:]]).items())
        return drawn(
            figure,
            "fisher",
            label=f"Box plots of F in {len(layers)} layers, logarithmic. Medians above zero, first and last: {ends}.",
            caption=f"Diagonal Fisher information {_how(record)}, the weights of each layer; values above zero, the "
            f"share of zeros written above; {MEANING}.",
        )
