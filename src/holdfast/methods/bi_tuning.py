"""Bi-Tuning: contrast features and classifier rows with keys of a momentum encoder (Zhong et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.core.clock import Clock
from holdfast.core.locate import Located, representation
from holdfast.core.method import Method, State, hyper
from holdfast.core.momentum import Follower, KeyQueue
from holdfast.core.registry import register
from holdfast.core.types import Context, Step
from holdfast.functional.contrast import contrast, extended, unit
from holdfast.functional.noise import generator


@dataclass
class BiTuningState(State):
    """The projector, which trains; the encoder and the projector of the keys, which follow; the keys."""

    located: Located
    projector: nn.Linear
    encoder: Follower
    key_projector: Follower
    queue: KeyQueue

    def state_dict(self) -> dict[str, Any]:
        """All but where the representation is."""
        saved = super().state_dict()
        del saved["located"]
        return saved


@register
@dataclass(frozen=True)
class BiTuning(Method):
    r"""Contrasts features and the classifier's rows with features of the same class and of others.

    .. math::
        \Omega = \lambda (L_{CCE} + L_{CCL}), \qquad
        \ell = -\frac1{|P|} \sum_{k \in P} \log \frac{\exp(s_k/\tau)}{\sum_j \exp(s_j/\tau)}

    both batch means of ℓ, on inner products s of unit vectors. :math:`L_{CCL}`: the projection of the representation
    with a momentum encoder's of the same image, then with the queue. :math:`L_{CCE}`: the classifier's row and bias of
    the sample's class with its own representation, extended by 1, then with the queue. P holds the first key and the
    queue's of the class; the queue has the last K keys of each class.

    Additive: the queue stands still within a step, and takes in the keys of all ranks and micro-batches after it.

    Source: Zhong et al. 2020, and tllib's code, which holds the classifier's rows constant (``bi_tuning@tllib``).
    Deviations: keys come from the same view, and from an encoder in evaluation mode; the queue starts empty.
    """

    stem: ClassVar[str] = "bi_tuning"
    presets: ClassVar[dict[str, dict[str, object]]] = {"tllib": {"head_gradient": False}}
    taps: ClassVar[tuple[str, ...]] = ("rep",)

    lam: float = hyper(1.0, low=0, doc="factor of both losses")
    projection: int = hyper(128, low=1, doc="width of the projection")
    K: int = hyper(40, low=1, doc="keys in the queue, for each class")
    tau: float = hyper(0.07, above=0, doc="temperature")
    momentum: float = hyper(0.999, low=0, high=1, doc="how slowly the keys' encoder follows")
    head_gradient: bool = hyper(True, doc="let the classifier's rows learn from L_CCE")

    def at_zero_strength(self) -> BiTuning:
        """λ = 0."""
        return replace(self, lam=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> BiTuningState:
        """Copy the network for the keys, and draw the projector as a linear layer is, from a generator of its own."""
        like, width = ctx.head()[0].param, ctx.located.in_features
        projector = nn.utils.skip_init(nn.Linear, width, self.projection, dtype=like.dtype)
        gen = generator("cpu", ctx.clock.seed, "bi_tuning projector")
        with torch.no_grad():
            for p in projector.parameters():
                p.uniform_(-(width**-0.5), width**-0.5, generator=gen)
        queue = KeyQueue(ctx.located.out_features, self.K, (self.projection, width + 1), like)
        projector = projector.to(like.device)
        return BiTuningState(ctx.located, projector, Follower(model), Follower(projector), queue)

    def describe(self, state: State) -> str:
        """Both losses, their keys and the projector."""
        assert isinstance(state, BiTuningState)
        rows = "" if self.head_gradient else ", whose rows are held constant"
        classes = state.located.out_features
        return (
            f"{self.lam:g} × contrastive losses of rep, projected to {self.projection} by a layer that trains along, "
            f"and of the classifier{rows}; batch means; {self.K} keys for each of {classes} classes, from a copy of "
            f"the network that follows with momentum {self.momentum:g}"
        )

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """λ times the sum of both losses; None at zero strength. The keys of the batch wait for the step's end."""
        assert isinstance(state, BiTuningState)
        if self.lam == 0:
            return None
        rep = step.features("rep").flatten(1)
        y = step.labels(self, len(rep))
        state.queue.follow(rep.device)
        assert step.batch is not None
        with torch.no_grad():
            seen = representation(state.encoder.on(rep.device), step.batch.x, state.located)
        with torch.autocast(rep.device.type, enabled=False):
            rep, seen = (t.to(state.projector.weight.dtype) for t in (rep, seen))
            z_key, h_key = unit(state.key_projector.on(rep.device)(seen)), extended(seen)
            ccl, cce = self._losses(rep, z_key, y, state)
        state.queue.add(y, z_key, h_key)
        state.figures |= {"ccl": ccl.detach(), "cce": cce.detach()}
        return self.lam * (ccl + cce)

    def _losses(self, rep: Tensor, z_key: Tensor, y: Tensor, state: BiTuningState) -> tuple[Tensor, Tensor]:
        """L_CCL and L_CCE of representations (B, D), in the type of the parameters."""
        queue, head = state.queue, state.encoder.leader.get_submodule(state.located.head)
        assert isinstance(head, nn.Linear)
        bias = head.weight.new_zeros(len(head.weight)) if head.bias is None else head.bias
        rows = unit(torch.cat([head.weight, bias[:, None]], 1))[y]
        positive = y[:, None] == queue.labels
        z_queue, h_queue = queue.keys
        ccl = contrast(unit(state.projector(rep)), z_key, z_queue, positive, queue.filled, self.tau)
        rows = rows if self.head_gradient else rows.detach()
        return ccl, contrast(rows, extended(rep), h_queue, positive, queue.filled, self.tau)

    def after_step(self, clock: Clock, state: State, optimizer: Optimizer) -> None:
        """Take in the keys that wait, and let the keys' encoder follow."""
        assert isinstance(state, BiTuningState)
        if self.lam > 0:
            state.queue.push()
            state.encoder.follow(self.momentum)
            state.key_projector.follow(self.momentum)
