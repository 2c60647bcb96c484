"""JointTrain (Caruana 1997, as compared with in Li & Hoiem 2016): two streams, two heads, one body.

    minimise J + λ·J_source,   J_source the cross-entropy of the source head on a batch of source data.

Readings. λ = 1, a plain sum. The source head trains along under the key `source_head`. The source batch takes a
second pass of its own through the body, after the target's, so that batch-norm sees one domain at a time.
"""

from collections.abc import Callable

from torch import Tensor

from .training import Penalty, Step, cross_entropy, run_forward

KEY = "source_head"


def penalty(source_batch: Callable[[int], tuple[Tensor, Tensor]], lam: float = 1.0) -> Penalty:
    """λ·J_source on `source_batch(t)`; hand the head to `training.train` as `extra={"source_head": …}`."""

    def at(step: Step) -> Tensor:
        x, y = source_batch(step.t)
        rep = run_forward(step.model, step.head_name, x).rep
        return lam * cross_entropy(step.extra[KEY](rep), y)

    return at
