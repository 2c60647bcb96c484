"""LP-FT (Kumar et al. 2022): linear probing first, then fine-tuning of everything from the probe's head.

Readings. For the first k steps the body takes no step and is in evaluation mode, so that the features stand still and
batch-norm's statistics too; from then on everything trains, in the modes that the caller's model had. One optimiser
runs through: the head's momentum is carried over, the body's starts with its first step.
"""

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .training import Run, Step, Trajectory, Weights, head_parameters, plain, train


def probing_body(model: nn.Module, head_name: str) -> nn.Module:
    """A copy whose body is in evaluation mode and whose head keeps its mode."""
    model = copy.deepcopy(model)
    mode = model.get_submodule(head_name).training
    model.eval()
    model.get_submodule(head_name).train(mode)
    return model


def lp_ft(
    model: nn.Module,
    head_name: str,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    probe_steps: int,
    rule: Any = None,
    penalty: Any = None,
    **options: Any,
) -> Trajectory:
    """The whole run; `options` go to `training.train`, `rule` or `penalty` add another method."""
    modes = {name: module.training for name, module in model.named_modules()}
    inner, head = rule or plain(penalty), head_parameters(model, head_name)

    def two_phases(step: Step, J: Tensor) -> tuple[Weights, dict[str, float]]:
        g, figures = inner(step, J)
        return {name: value for name, value in g.items() if step.t >= probe_steps or name in head}, figures

    def after_step(run: Run) -> None:
        if run.t == probe_steps:
            for name, module in run.model.named_modules():
                module.training = modes[name]

    start = probing_body(model, head_name) if probe_steps else model
    return train(start, head_name, batches, rule=two_phases, after_step=after_step, **options)
