"""Looking at the gradients of task and penalties side by side: their angles, for a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from holdfast.core.closed_form import chunks
from holdfast.core.surrogate import Grads, Surgery, Term
from holdfast.core.types import Step
from holdfast.functional.grads import products, sum_angles

ANGLES = ("angle", "conflict", "angle1", "angle2", "angle3", "angle4")
"""What is measured: ``angle`` between ∇J and ∇Ω, ``conflict`` (1 where it is obtuse), ``angle1`` and ``angle2`` of a
gradient rule's direction to ∇J and to ∇Ω, ``angle3`` and ``angle4`` of the plain sum ∇J + λ∇Ω to the same two."""


@dataclass
class Watch:
    """The angles between the two gradients of the last backward pass, in degrees.

    A gradient rule has both gradients and reports them at no cost. Without one, nothing is measured unless ``on``: each
    pass then costs a second backward of J, and one of the penalties that are built in the graph. What is trained is the
    same bit for bit. ∇J is that of J with all edits at features, averaged over ranks; Ω is the weighted sum of what the
    rule wraps, or of all penalties where there is none.

    Attributes:
        on: measure the passes of the losses to come; set it before a network that is compiled runs for the first time.
        figures: those of ``ANGLES`` that there are, detached and not synchronised; empty before the backward pass and
            where nothing is penalised. NaN where a gradient is 0.
    """

    figures: dict[str, Tensor] = field(default_factory=dict)
    _on: bool = False

    @property
    def on(self) -> bool:
        """Whether passes without a gradient rule are measured too."""
        return self._on

    @on.setter
    def on(self, wanted: bool) -> None:
        if wanted:
            keep_for_two_passes()
        self._on = wanted

    def hear(self, figures: Mapping[str, Any]) -> None:
        """Take what a gradient rule reports of this pass."""
        self.figures = {name: figures[name] for name in ANGLES if name in figures}

    def look(self, task_loss: Tensor, terms: Sequence[Term], step: Step) -> Callable[[Tensor], None]:
        """What measures J and Ω when their backward pass begins, given its upstream factor.

        Args:
            task_loss: J, with its graph.
            terms: the penalties, whose sum is Ω.
            step: whose ``params`` list everything that trains.
        """

        def combine(g_task: Grads, g_pen: Sequence[Tensor | None]) -> Grads:
            found = torch.zeros(3, dtype=step.params[0].dtype, device=step.params[0].device)
            for part in chunks(step.params):
                found += products(g_task[part], g_pen[part], found)
            self.figures = sum_angles(found, 1.0)
            return g_task

        apart = Surgery(task_loss, list(terms), [], 1.0, step, combine, keep=True)

        def measure(go: Tensor) -> None:
            apart.gradients(go)
            step.edits = True  # the pass that trains is still to come

        return measure


def keep_for_two_passes() -> None:
    """Let networks that are compiled later keep what a second backward pass through them needs.

    By default torch's generated code reuses their memory in the first one and refuses a second. Code of that kind may
    also come from torch's caches, whose keys leave this setting out: the second gradient would be silently wrong.
    """
    import torch._functorch.config as autograd
    import torch._inductor.config as generated  # 0.1 s that other methods need not spend

    autograd.donated_buffer = autograd.enable_autograd_cache = generated.fx_graph_cache = False
