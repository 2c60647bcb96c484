"""The starting point w⁰: one copy of the pre-trained parameters, shared by all methods of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.core.errors import StartingPointError
from holdfast.core.types import ParamRef


class StartingPoint:
    """Snapshot of parameters as they were when ``prepare`` was called.

    Only what a method asks for in ``bind`` is copied, and each parameter at most once. The tensors follow the
    parameters' device.
    """

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def keep(self, refs: Sequence[ParamRef]) -> None:
        """Copy these parameters as they are now, unless they were copied before."""
        for ref in refs:
            if ref.name not in self._tensors:
                self._tensors[ref.name] = ref.param.detach().clone(memory_format=torch.preserve_format)

    def of(self, refs: Sequence[ParamRef]) -> list[Tensor]:
        """The kept values of these parameters, on the parameters' device."""
        found = []
        for ref in refs:
            kept = self._tensors[ref.name]
            if kept.device != ref.param.device:
                kept = self._tensors[ref.name] = kept.to(ref.param.device)
            found.append(kept)
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """The kept tensors by parameter name."""
        return dict(self._tensors)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put back the saved starting point: the restored weights are never taken for it.

        Raises:
            StartingPointError: a parameter that a method needs is missing or has another shape.
        """
        for name, kept in self._tensors.items():
            if name not in saved or saved[name].shape != kept.shape:
                found = tuple(saved[name].shape) if name in saved else "nothing"
                raise StartingPointError(
                    f"the checkpoint's starting point holds {found} for {name}, expected {tuple(kept.shape)}: "
                    "load the state that methods.state_dict() gave for this network and these methods"
                )
            self._tensors[name] = saved[name].to(kept.device, kept.dtype)
