"""Co-Tuning: teach the source head the source classes that each label stands for (You et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.core import world
from holdfast.core.errors import UsageError
from holdfast.core.locate import Located, representation
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context, Step
from holdfast.functional.features import at_least_single
from holdfast.functional.relationship import direct, reverse


@dataclass
class CoTuningState(State):
    """The source head, which trains along, and p(y_s | y_t), (C_t, C_s), once it is measured."""

    source_head: nn.Module
    located: Located
    relationship: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Both."""
        return {"source_head": self.source_head.state_dict(), "relationship": self.relationship}

    def source_logits(self, rep: Tensor) -> Tensor:
        """What the source head says of representations (B, D), in whatever precision they come."""
        return at_least_single(self.source_head(rep.to(next(self.source_head.parameters()).dtype)))


@register
@dataclass(frozen=True)
class CoTuning(Method):
    r"""Keeps the source head and teaches it the source classes that each label stands for.

    .. math:: \Omega = \frac\lambda B \sum_i \sum_s -p(y_s = s \mid y_i) \log q_s(x_i)

    where :math:`q` is the softmax of the source head on the representation and λ = ``lam``; a batch mean, so
    micro-batches add up. The head trains along and is not exported. :math:`p(y_s \mid y_t)` is measured once, by
    ``calibrate``, from the starting point's probabilities on the training images: their mean over each class
    (``way='direct'``), or by Bayes' rule from a logistic regression of the labels on them (``way='reverse'``).

    Source: You et al. 2020. Deviations: the strength of the regression is given, not chosen on validation images; the
    source probabilities' temperature is given, not fitted on source images.
    """

    stem: ClassVar[str] = "co_tuning"
    taps: ClassVar[tuple[str, ...]] = ("rep",)

    lam: float = hyper(2.3, low=0, doc="strength")
    way: Literal["direct", "reverse"] = hyper("direct", doc="how the classes' relationship is learnt")
    temperature: float = hyper(1.0, above=0, doc="divides the source logits where the relationship is learnt")
    ridge: float = hyper(1e-3, above=0, doc="strength of the regression's penalty, for way='reverse'")

    @property
    def calibrates(self) -> bool:
        """Unless it has no strength."""
        return self.lam > 0

    def at_zero_strength(self) -> CoTuning:
        """λ = 0."""
        return replace(self, lam=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> CoTuningState:
        """Take the source head."""
        return CoTuningState(ctx.source_head(self), ctx.located)

    def describe(self, state: State) -> str:
        """The term and where its targets come from."""
        assert isinstance(state, CoTuningState)
        source = next(state.source_head.parameters()).shape[0]
        return (
            f"{self.lam:g} × cross-entropy of the source head's {source} outputs, batch mean, to p(y_s | y_t) of the "
            f"{state.located.out_features} classes, learnt the {self.way} way; the source head trains along"
        )

    def calibrate(self, model: nn.Module, loader: Iterable[Any], state: State) -> None:
        """Measure the relationship, in evaluation mode, over the samples of all ranks.

        Raises:
            UsageError: a class does not occur.
        """
        assert isinstance(state, CoTuningState)
        model.eval()
        state.source_head.to(next(model.parameters()).device)
        found, labels = [], []
        with torch.no_grad():
            for batch in loader:
                rep = representation(model, batch.x, state.located)
                logits = state.source_logits(rep) / self.temperature
                found.append(logits.softmax(1))
                labels.append(batch.y)
            f, y = world.gathered(torch.cat(found)), world.gathered(torch.cat(labels))
        classes = state.located.out_features
        if missing := sorted(set(range(classes)) - set(y.unique().tolist())):
            raise UsageError(
                f"{self} learns which source classes each class stands for, and calibrate(loader) gave no image of "
                f"{len(missing)} of {classes} classes, the first of them {missing[0]}: pass the whole training set"
            )
        f, y = f.cpu().double(), y.cpu()
        state.relationship = direct(f, y, classes) if self.way == "direct" else reverse(f, y, classes, self.ridge)

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """λ times the mean cross-entropy of the source head; None at zero strength."""
        assert isinstance(state, CoTuningState)
        if self.lam == 0:
            return None
        rep = step.features("rep").flatten(1)
        y = step.labels(self, len(rep))
        if state.relationship is None:
            raise UsageError(f"{self} needs p(y_s | y_t): call methods.calibrate(loader) on the training set first")
        z = state.source_logits(rep)
        state.relationship = state.relationship.to(z)
        return self.lam * F.cross_entropy(z, state.relationship[y])
