"""JointTrain: train on source data too, with a head of their own (as compared with in Li & Hoiem 2016)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from holdfast.core.joint import SOURCE, JointState, joint_state, source_loss
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context, Step


@register
@dataclass(frozen=True)
class JointTrain(Method):
    r"""Trains on source data beside the target's, with a head of their own.

    .. math:: \min J + \lambda J_{source}

    where J is the task loss on the target's batch and :math:`J_{source}` the mean cross-entropy of the source head on
    as many samples of the stream ``source``. The source head begins as a copy of the pre-trained network's own and
    trains along, at the body's rate. Both batches pass through the same body, the source's after the target's, each
    with its own batch statistics. The source head reads the representation before any dropout of the head.

    Additive over micro-batches, and over ranks, where batch normalisation is frozen or absent: the source samples of
    equal parts together are those of the whole.

    Source: Caruana 1997, as "joint training" in Li & Hoiem 2016 and in Zhong & Maki 2020, tables 2 and 4. The texts
    name no factor between the losses (here λ, 1 by default) and no ratio between the batches (here 1).
    """

    stem: ClassVar[str] = "joint_train"
    taps: ClassVar[tuple[str, ...]] = ("rep",)
    streams: ClassVar[dict[str, str]] = SOURCE

    lam: float = hyper(1.0, low=0, doc="factor of the source data's loss; 0 does not read them")

    def at_zero_strength(self) -> JointTrain:
        """λ = 0."""
        return replace(self, lam=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> JointState:
        """Copy the source head and open the stream."""
        return joint_state(ctx, self)

    def describe(self, state: State) -> str:
        """The second loss and its data."""
        assert isinstance(state, JointState)
        return (
            f"{self.lam:g} × cross-entropy of the source head, which trains along, on {len(state.source.stream)} "
            "source samples, in each step as many as the target's batch has"
        )

    def penalty(self, step: Step, state: State) -> Tensor | None:
        r""":math:`\lambda J_{source}` on the stream's next samples."""
        assert isinstance(state, JointState)
        if self.lam == 0:
            return None
        loss = source_loss(step, state)
        state.figures["source_loss"] = loss.detach()
        return self.lam * loss
