"""L²-SP, eqs. 2–3 of the L2-SP paper: Ω(w) = α/2 ‖w_S − w⁰_S‖² + β/2 ‖w_S̄‖².

Readings. `default`: w_S is every shared parameter, biases and normalisation included, and the head's term covers its
weight and bias. The others follow the objectives that the public ports minimise:

* `li2018` (the authors' code): kernels of convolutions and linear layers only, in the body and in the head alike;
* `delta2019`, `tllib`: the same formula as ours, with both strengths 0.01;
* `wan2019`, `li2020` (as the DTNH and RIFLE papers print it): α‖w_S − w⁰_S‖², no ½, no head term;
* `renofeation`: α‖w − w⁰‖² over everything, the head pulled to its random start too, no ½, no head term;
* `paddle`: un-squared norms, one for each parameter tensor, no ½: α Σ_p ‖w_p − w⁰_p‖ + β Σ_{p∈S̄} ‖w_p‖.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .l2 import squares
from .training import Penalty, Step, Weights, head_parameters, shared_parameters


@dataclass(frozen=True)
class Preset:
    """half: the factor before every term · include: which of w_S · head: its own term, none, or pulled to its start."""

    half: float = 0.5
    include: str = "all"
    head: str = "towards zero"
    head_include: str = "all"
    squared: bool = True
    alpha: float = 0.1
    beta: float = 0.01


PRESETS = {
    "default": Preset(),
    "li2018": Preset(include="weights", head_include="weights"),
    "delta2019": Preset(alpha=0.01),
    "tllib": Preset(alpha=0.01),
    "wan2019": Preset(half=1.0, head="none"),
    "li2020": Preset(half=1.0, head="none"),
    "renofeation": Preset(half=1.0, head="towards start"),
    "paddle": Preset(half=1.0, squared=False),
}


def size(w: Weights, squared: bool) -> Tensor:
    """Σ_p ‖w_p‖², or Σ_p ‖w_p‖ with 0 for the gradient of a norm at 0."""
    if squared:
        return squares(w, w)
    return sum(torch.linalg.vector_norm(value) for value in w.values())


def omega(
    w: Weights,
    w0: Weights,
    shared: list[str],
    head: list[str],
    alpha: float,
    beta: float,
    preset: Preset,
) -> Tensor:
    """Ω(w) by the preset's switches; `shared` and `head` name the parameters that it acts on."""
    body = {name: w[name] - w0[name] for name in shared}
    total = preset.half * alpha * size(body, preset.squared)
    if preset.head == "towards zero":
        total = total + preset.half * beta * size({name: w[name] for name in head}, preset.squared)
    if preset.head == "towards start":
        total = total + preset.half * alpha * size({name: w[name] - w0[name] for name in head}, preset.squared)
    return total


def penalty(
    alpha: float | None = None, beta: float | None = None, preset: str = "default", include: str | None = None
) -> Penalty:
    """The penalty as `training.train` takes it; what is not given is the preset's."""
    chosen = PRESETS[preset]

    def at(step: Step) -> Tensor:
        shared = shared_parameters(step.model, step.head_name, include or chosen.include)
        head = head_parameters(step.model, step.head_name)
        if chosen.head_include == "weights":
            head = [name for name in head if name.endswith("weight")]
        a = chosen.alpha if alpha is None else alpha
        b = chosen.beta if beta is None else beta
        return omega(step.w, step.w0, shared, head, a, b, chosen)

    return at
