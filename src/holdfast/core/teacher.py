"""A frozen copy of the starting point that answers with its own features for the same inputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import StartingPointError
from holdfast.core.locate import Located
from holdfast.core.taps import Recorder, install


class Teacher:
    """The network as it was when ``prepare`` was called, in evaluation mode, without gradients.

    Args:
        model: the network before any tap is installed.
        located: where its representation and head are.
        names: the taps that the methods compare.
    """

    def __init__(self, model: nn.Module, located: Located, names: Iterable[str]) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.seen: dict[str, Tensor] = {}
        self._recorder = _Catch(self.seen)
        install(self.model, located, names, (), self._recorder, inputs=False)

    @torch.no_grad()
    def __call__(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The features at every tap, for the inputs of one student forward."""
        if inputs[0].device != next(self.model.parameters()).device:
            self.model.to(inputs[0].device)
        self.model(*inputs)
        return dict(self.seen)

    def state_dict(self) -> dict[str, Any]:
        """Parameters and buffers of the starting point."""
        return self.model.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put the saved starting point back.

        Raises:
            StartingPointError: it is of another network.
        """
        try:
            self.model.load_state_dict(saved)
        except RuntimeError as error:
            raise StartingPointError(f"the checkpoint's teacher does not fit this network: {error}") from error


class _Catch(Recorder):
    """Keeps the last value seen at each tap, gradients or not."""

    def __init__(self, seen: dict[str, Tensor]) -> None:
        super().__init__()
        self.seen = seen

    def see(self, name: str, z: Tensor, edits: bool) -> Tensor:
        """Keep it."""
        self.seen[name] = z
        return z
