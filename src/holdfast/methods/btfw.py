"""BTfW, selective joint fine-tuning: train on the source images that look like the target's (Ge & Yu 2017)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.core.clock import Clock
from holdfast.core.errors import UsageError
from holdfast.core.joint import SOURCE, source_loss
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.selection import Selection, selection_of
from holdfast.core.types import Batch, Context, Step


@register
@dataclass(frozen=True)
class BTfW(Method):
    r"""Trains on the source images nearest to the target's by low-level features, behind a head of their own.

    .. math::
        \min J + \lambda J_{source}, \qquad
        H_{ij} = \sum_h w_h \big[KL(\phi_h^i \| \phi_h^j) + KL(\phi_h^j \| \phi_h^i)\big]

    where :math:`\phi_h^i` is the histogram of filter h's response on image i, :math:`w_h` is 1 over the number of
    filters in h's bank, and :math:`J_{source}` is that of ``joint_train`` on the union of each target image's K nearest
    source images. After every ``every`` epochs K grows by ``sigma0`` for misclassified training images and by
    ``sigma1`` for those whose prediction's entropy is at least ``delta`` nats, and the union is chosen anew.

    The source images are described once, by all ranks, and the files are kept where the stream has a folder.
    Predictions are those of the training forwards of a round's last epoch. Additive as ``joint_train`` is.

    Source: Ge & Yu 2017. Ours: the bins (equal width between the extremes of 256 source images), 1 added to each count,
    the Gabor filters' parameters, all defaults.
    """

    stem: ClassVar[str] = "btfw"
    taps: ClassVar[tuple[str, ...]] = ("rep",)
    streams: ClassVar[dict[str, str]] = SOURCE

    lam: float = hyper(1.0, low=0, doc="factor of the source data's loss; 0 does not read them")
    k: int = hyper(100, low=1, doc="nearest source images that each target image takes at first")
    filters: Literal["gabor", "conv1", "both"] = hyper(
        "gabor", doc="filter bank: Gabor filters, the pre-trained network's first convolution, or both"
    )
    bins: int = hyper(32, low=2, doc="bins of each histogram")
    every: int = hyper(0, low=0, doc="epochs of a round; 0 chooses once, before training")
    sigma0: int = hyper(400, low=0, doc="growth of K after a round for misclassified training images")
    sigma1: int = hyper(200, low=0, doc="growth of K for those with uncertain predictions")
    delta: float = hyper(0.1, low=0, doc="entropy, in nats, from which on a prediction is uncertain")

    def at_zero_strength(self) -> BTfW:
        """λ = 0."""
        return replace(self, lam=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> Selection:
        """Copy the source head, open the stream, find the filters."""
        if self.every:
            ctx.clock.require("steps_per_epoch", f"{self} (its rounds are epochs)")
        return selection_of(model, ctx, self, self.filters, self.bins)

    def describe(self, state: State) -> str:
        """The second loss, and how its data are chosen."""
        assert isinstance(state, Selection)
        rounds = f", K grown for hard images every {self.every} epochs" if self.every else ""
        return (
            f"{self.lam:g} × cross-entropy of the source head, which trains along, on the union of each target image's "
            f"{self.k} nearest of {len(state.source.stream)} source images by {self.filters} histograms{rounds}"
        )

    def calibrate(self, model: nn.Module, loader: Iterable[Batch], state: State) -> None:
        """Describe the target's training images, and choose for them."""
        assert isinstance(state, Selection)
        if self.lam:
            state.describe_target(loader, self.k, indexed=bool(self.every), asks=self)
            state.choose()

    def penalty(self, step: Step, state: State) -> Tensor | None:
        r""":math:`\lambda J_{source}` on the next samples of the choice."""
        assert isinstance(state, Selection)
        if self.lam == 0:
            return None
        if state.source.chosen is None:
            raise UsageError(f"{self} chooses its source images before training: call methods.calibrate(loader) first")
        if self.every:
            state.look(step, self)
        loss = source_loss(step, state)
        state.figures |= {"source_loss": loss.detach(), "chosen": len(state.source.chosen)}
        return self.lam * loss

    def after_step(self, clock: Clock, state: State, optimizer: Optimizer) -> None:
        """At the end of a round let K grow where the round's last epoch was hard, and choose anew."""
        assert isinstance(state, Selection)
        if not (self.every and self.lam and clock.epoch_begins):
            return
        if clock.epoch % self.every == 0:
            state.grow(self.delta, self.sigma0, self.sigma1)
            state.choose()
        state.forget()
