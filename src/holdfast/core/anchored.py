"""The quadratic pull of parameters to a reference, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.closed_form import ClosedForm, chunks
from holdfast.core.information import Information
from holdfast.core.method import State
from holdfast.core.start import StartingPoint
from holdfast.core.types import ParamRef, trainable
from holdfast.functional.params import differences, squared_distances, weighted_squares

REPLACES = "; a sum over parameters, replaces their weight decay"


@dataclass(frozen=True)
class Pull:
    """A strength, the parameters it acts on, and whether their reference is the starting point or 0."""

    strength: float
    refs: Sequence[ParamRef]
    to_start: bool


@dataclass
class AnchoredState(State):
    """Parameters of the body and of the head that are pulled, and the starting point that all methods share.

    ``information`` weighs the body's entries, where the method does so.
    """

    body: list[ParamRef]
    head: list[ParamRef]
    start: StartingPoint
    information: Information | None = None

    def state_dict(self) -> dict[str, object]:
        """What weighs, if anything: ``bind`` finds the parameters again, the composition saves the starting point."""
        return {} if self.information is None else {"information": self.information.state_dict()}

    def names(self) -> list[str]:
        """Names of all that are pulled."""
        return [r.name for r in (*self.body, *self.head)]


def in_words(pulls: Sequence[Pull], include: str, *, squared: bool = True) -> str:
    """Pulls as formulas with the parameters they act on, for ``describe``."""
    terms = []
    for name, pull in zip(("body", "head"), pulls, strict=True):
        distance = ("‖w − w⁰‖" if pull.to_start else "‖w‖") + ("²" if squared else " per tensor")
        terms.append(f"{pull.strength:g}·{distance} {counted(name, pull.refs, include)}")
    return "; ".join(terms) + REPLACES


def counted(name: str, refs: Sequence[ParamRef], include: str) -> str:
    """What a term acts on, with its tensors and numbers counted."""
    count = sum(r.param.numel() for r in refs)
    return f"on the {name}: {len(refs)} tensors, {count} numbers ({include})"


class Anchored(ClosedForm):
    r"""Sum of pulls, each :math:`c\sum_i\|w_i - r_i\|_2^2`, or :math:`c\sum_i\|w_i - r_i\|_2` where not squared.

    Only parameters that require a gradient now take part.

    Args:
        pulls: strengths c with their parameters; those of strength 0 are left out.
        start: the starting point, reference of those that are pulled to it.
        squared: the square of each tensor's distance, or the distance itself.
    """

    def __init__(self, pulls: Sequence[Pull], start: StartingPoint, *, squared: bool = True) -> None:
        self._anchors: list[Tensor | None] = []
        self._strengths: list[float] = []
        self._squared = squared
        params: list[Tensor] = []
        for pull in pulls:
            refs = list(trainable(pull.refs)) if pull.strength else []
            params += [r.param for r in refs]
            self._anchors += start.of(refs) if pull.to_start else [None] * len(refs)
            self._strengths += [pull.strength] * len(refs)
        super().__init__(params)

    def value(self) -> Tensor:
        """The penalty, a scalar."""
        with torch.no_grad():
            distances = squared_distances(self.params, self._anchors)
            if not self._squared:
                distances = distances.sqrt()
            return torch.dot(distances, distances.new_tensor(self._strengths))

    def grads(self, part: slice) -> list[Tensor]:
        r""":math:`2c(w - r)`, or :math:`c(w - r)/\|w - r\|` (0 at the reference) where not squared."""
        with torch.no_grad():
            result = differences(self.params[part], self._anchors[part])
            strengths = self._strengths[part]
            if self._squared:
                torch._foreach_mul_(result, [2 * c for c in strengths])
                return result
            norms = torch._foreach_norm(result)
            torch._foreach_mul_(
                result, [torch.where(n > 0, c / n, torch.zeros_like(n)) for c, n in zip(strengths, norms, strict=True)]
            )
            return result


class Weighted(ClosedForm):
    r"""The body's pull with a weight for each entry, :math:`c\sum_jF_j(w_j - w_j^0)^2`.

    Only parameters that require a gradient now take part.

    Args:
        strength: c.
        state: whose ``information`` gives F.
    """

    def __init__(self, strength: float, state: AnchoredState) -> None:
        refs = list(trainable(state.body))
        super().__init__([r.param for r in refs])
        assert state.information is not None
        self._anchors, self._weights = state.start.of(refs), state.information.of(refs)
        self._strength = strength

    def value(self) -> Tensor:
        """The penalty, a scalar."""
        with torch.no_grad():
            parts = [weighted_squares(*self._at(part)) for part in chunks(self.params)]
            return self._strength * torch.cat(parts).sum()

    def grads(self, part: slice) -> list[Tensor]:
        r""":math:`2cF(w - w^0)`."""
        with torch.no_grad():
            result, weights = self._at(part)
            torch._foreach_mul_(result, weights)
            torch._foreach_mul_(result, 2 * self._strength)
            return result

    def _at(self, part: slice) -> tuple[list[Tensor], list[Tensor]]:
        return differences(self.params[part], self._anchors[part]), self._weights[part]
