"""Training on source data beside the target's: a second head on the same body, and its loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.core.errors import UsageError
from holdfast.core.method import State
from holdfast.core.streams import Reader
from holdfast.core.taps import REP
from holdfast.core.types import Context, Step

SOURCE = {"source": "labelled samples of the classes that the network was pre-trained on"}


@dataclass
class JointState(State):
    """The second head, a copy of the pre-trained network's own that trains along, and the place in the source data."""

    source_head: nn.Module
    source: Reader


def joint_state(ctx: Context, asks: object) -> JointState:
    """The second head and the source data of a run.

    Raises:
        UsageError: the head or the stream was not passed to ``prepare``, or they differ in the number of classes.
    """
    reader, head = ctx.stream("source", asks), ctx.source_head(asks)
    known = getattr(head, "out_features", None)
    if None not in (known, reader.stream.classes) and known != reader.stream.classes:
        raise UsageError(
            f"{asks}: the source head has {known} classes, the source data {reader.stream.classes}: "
            "pass data of all classes that the network was pre-trained on, in their order"
        )
    return JointState(head, reader)


def source_loss(step: Step, state: JointState) -> Tensor:
    r"""The cross-entropy of the second head on a batch of source data, as large as the target's.

    .. math:: J_{source} = -\frac1B\sum_i \log p_{source}(y_i \mid x_i)

    The batch takes a second pass of its own through the body, after the target's, that no other method sees: batch
    normalisation sees one domain at a time.

    Raises:
        UsageError: a label that the source head does not know.
    """
    x, y = state.source.take(len(step.features(REP)))
    like = next(state.source_head.parameters())
    rep = step.features_of(REP, x.to(like.device, like.dtype if x.is_floating_point() else None)).flatten(1)
    logits = state.source_head(rep.to(like.dtype))
    if int(y.max()) >= logits.shape[1]:  # on the CPU still: the device is not waited for
        raise UsageError(
            f"the source data have label {int(y.max())}, the source head has {logits.shape[1]} classes, from 0: "
            "pass data of the classes that the network was pre-trained on, in their order"
        )
    return F.cross_entropy(logits, y.to(like.device))
