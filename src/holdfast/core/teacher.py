"""A frozen copy of the starting point that answers with its own features for the same inputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.core.errors import ConflictError, StartingPointError
from holdfast.core.fold import fold, foldable
from holdfast.core.locate import Located
from holdfast.core.member import Member
from holdfast.core.taps import Recorder, install


def wanted(
    everything: Iterable[Member],
    model: nn.Module,
    located: Located,
    dtype: torch.dtype | None,
    copied: Set[str] = frozenset(),
) -> Teacher | None:
    """The teacher that the bound methods share, see ``Teacher``; None where no method asks for one.

    Raises:
        ConflictError: one method wants it in the student's batch-norm modes, another in evaluation mode.
    """
    asking = [m for m in everything if m.method.needs_teacher]
    if not asking:
        return None
    for member in asking:
        if member.method.matches_student != asking[0].method.matches_student:
            raise ConflictError(
                f"{asking[0].method} and {member.method} want one teacher's batch-norm in different modes: "
                "give both the same"
            )
    taps = {tap for m in asking for tap in m.taps}
    matched = asking[0].method.matches_student
    return Teacher(model, located, taps, dtype=dtype, matched=matched, copied=copied)


class Teacher:
    """The network as it was when ``prepare`` was called, without gradients: in evaluation mode, or matched.

    Its first answer folds its batch-norms into the convolutions, where no tap stands between, and puts it in channels
    last, where it is convolutional. Both leave the features as they are, but for rounding.

    Args:
        model: the network before any tap is installed.
        located: where its representation and head are.
        names: the taps that the methods compare.
        dtype: what it computes in; the model's type where None.
        matched: each batch-norm is in the mode of the student's, and nothing is folded or laid out anew: where the
            weights agree, the features do, bit for bit.
        copied: taps whose features the network overwrites.
    """

    def __init__(
        self,
        model: nn.Module,
        located: Located,
        names: Iterable[str],
        *,
        dtype: torch.dtype | None = None,
        matched: bool = False,
        copied: Set[str] = frozenset(),
    ) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._dtype = dtype
        self._folded: list[tuple[str, str]] | None = [] if matched else None
        students = dict(model.named_modules())
        self._followed = [
            (module, students[path])
            for path, module in self.model.named_modules()
            if matched and isinstance(module, _BatchNorm)
        ]
        self._seen: dict[str, Tensor] = {}
        recorder = _Catch(self._seen)
        recorder.copied = copied
        install(self.model, located, names, (), recorder, inputs=False)

    @torch.no_grad()
    def __call__(self, inputs: Sequence[Tensor], cast: torch.dtype | None = None) -> dict[str, Tensor]:
        """The features at every tap, for the inputs of one student forward.

        Args:
            inputs: of the student.
            cast: the type of the autocast that the student ran under, if any.
        """
        device = inputs[0].device
        if next(self.model.parameters()).device != device:
            self.model.to(device)
        if self._folded is None:
            self._settle(foldable(self.model, inputs))
        for mine, students in self._followed:
            mine.training, mine.track_running_stats = students.training, False  # its own statistics stay
        if self._dtype is not None:
            inputs, cast = [x.to(self._dtype) if x.is_floating_point() else x for x in inputs], None
        with torch.autocast(device.type, dtype=cast, enabled=cast is not None):
            self.model(*inputs)
        found = dict(self._seen)
        self._seen.clear()  # the maps live no longer than the step
        return found

    def _settle(self, pairs: list[tuple[str, str]]) -> None:
        fold(self.model, pairs)
        self._folded = pairs
        if any(isinstance(module, nn.Conv2d) for module in self.model.modules()):
            self.model.to(memory_format=torch.channels_last)
        if self._dtype is not None:
            self.model.to(self._dtype)

    def state_dict(self) -> dict[str, Any]:
        """The starting point as it computes now: which batch-norms are folded, parameters and buffers."""
        return {"folded": self._folded, "weights": self.model.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put the saved starting point back.

        Raises:
            StartingPointError: it is of another network, or this run has taken steps already.
        """
        folded = None if saved["folded"] is None else [(conv, norm) for conv, norm in saved["folded"]]
        if self._folded and self._folded != folded:
            raise StartingPointError("this run has taken steps: restore the checkpoint right after prepare")
        try:
            if folded is not None and self._folded is None:
                self._settle(folded)
            self.model.load_state_dict(saved["weights"])
        except (RuntimeError, AttributeError, AssertionError) as error:
            raise StartingPointError(f"the checkpoint's teacher does not fit this network: {error}") from error
        self._folded = folded


class _Catch(Recorder):
    """Keeps the last value seen at each tap, gradients or not."""

    def __init__(self, seen: dict[str, Tensor]) -> None:
        super().__init__()
        self.seen = seen

    def see(self, name: str, z: Tensor, edits: bool) -> Tensor:
        """Keep it."""
        self.seen[name] = z
        return z
