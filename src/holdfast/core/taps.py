"""Recording features where methods ask for them, and editing the gradient that arrives there.

A tap sits on a module's output, or on its first input. What it records is the original tensor: penalties read
that. Where a method edits gradients, downstream gets a *view* whose backward calls the edit, so that an editing
method sees the task's gradient alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.hooks import RemovableHandle

from holdfast.core.errors import ConflictError, ModelError
from holdfast.core.locate import Located
from holdfast.core.types import Step

REP, LOGITS, INPUT = "rep", "", "<input>"
Edit = Callable[[str, Tensor, Tensor, Step], Tensor]


class Recording:
    """What the forwards since the last ``loss`` left behind; ``step`` is set when that loss consumes it.

    ``versions`` counts the writes that each tensor had seen when it was recorded, ``cast`` is autocast's type, if any.
    """

    def __init__(self) -> None:
        self.tapped: dict[str, list[Tensor]] = {}
        self.versions: dict[str, list[int]] = {}
        self.inputs: list[tuple[Tensor, ...]] = []
        self.cast: torch.dtype | None = None
        self.step: Step | None = None


class Recorder:
    """The shared end of all taps of one network; of the taps in ``copied``, downstream gets a copy to overwrite."""

    def __init__(self, edit: Edit | None = None) -> None:
        self.current = Recording()
        self.edit = edit
        self.copied: Set[str] = frozenset()

    @property
    def listening(self) -> bool:
        """Whether a forward now is a training forward: gradients on, not a recomputation inside backward."""
        return torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1

    def consume(self) -> Recording:
        """Hand over what was recorded and start afresh."""
        taken, self.current = self.current, Recording()
        return taken

    def aside(self, model: nn.Module, *inputs: Any) -> dict[str, list[Tensor]]:
        """The features of a forward for the caller alone; as no ``loss`` consumes them, nobody edits their gradient."""
        kept, self.current = self.current, Recording()
        try:
            model(*inputs)
            return self.current.tapped
        finally:
            self.current = kept

    def see(self, name: str, z: Tensor, edits: bool) -> Tensor:
        """Record features; return what downstream gets."""
        if not torch.is_grad_enabled():
            return z
        recording = self.current
        if self.listening:
            recording.tapped.setdefault(name, []).append(z)
            recording.versions.setdefault(name, []).append(z._version)
            # seen within the network: a host may wrap its forward alone, where hooks on the whole come too early
            if torch.is_autocast_enabled(kind := z.device.type):
                recording.cast = torch.get_autocast_dtype(kind)
        if edits and z.requires_grad and self.edit is not None:
            viewed: Tensor = _EditedView.apply(z, name, recording if self.listening else None, self.edit)
            return viewed
        return z


class _EditedView(torch.autograd.Function):
    """Identity whose backward adds the methods' edits to the gradient."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, name: str, recording: Recording | None, edit: Edit) -> Tensor:
        ctx.save_for_backward(z)
        ctx.name, ctx.recording, ctx.edit = name, recording, edit
        return z.view_as(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.recording is None:  # made within backward, and differentiated: only a reentrant checkpoint does so
            raise ConflictError(
                "a reentrant checkpoint hides the features whose gradient a method edits: "
                "pass use_reentrant=False to torch.utils.checkpoint.checkpoint"
            )
        step = ctx.recording.step
        if step is not None and step.edits:  # without a step, this never passed through loss()
            g = ctx.edit(ctx.name, ctx.saved_tensors[0], g, step)
        return g, None, None, None


class Inert:
    """What a copied or unpickled hook becomes: an EMA copy of the network records nothing."""

    def __call__(self, *args: Any) -> None:
        """Do nothing."""


class _Hook:
    """A forward hook that a deep copy or a pickle of the network turns into an inert one."""

    def __init__(self, recorder: Recorder, name: str, edits: bool) -> None:
        self.recorder, self.name, self.edits = recorder, name, edits

    def __reduce__(self) -> tuple[type[Inert], tuple[()]]:
        return Inert, ()


class _OnInput(_Hook):
    @torch.compiler.disable
    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.recorder.see(self.name, args[0], self.edits), *args[1:])


class _OnOutput(_Hook):
    @torch.compiler.disable
    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, Tensor):
            seen = self.recorder.see(self.name, output, self.edits)
            return seen.clone() if self.name in self.recorder.copied else seen
        if hasattr(output, "logits"):  # a Hugging Face model output
            self.recorder.see(self.name, output.logits, edits=False)
            return output
        raise ModelError(
            f"tap {self.name!r}: expected the module to return a tensor, it returns a {type(output).__name__}; "
            "name a module within it, or beside it, that does"
        )


class _OnModelInput(_Hook):
    @torch.compiler.disable
    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.recorder.listening:
            tensors = args or tuple(v for k, v in kwargs.items() if k != "labels")
            self.recorder.current.inputs.append(tensors)


def install(
    model: nn.Module, located: Located, names: Iterable[str], edited: Iterable[str], recorder: Recorder, inputs: bool
) -> list[RemovableHandle]:
    """Put a tap on every named place.

    Args:
        model: the network.
        located: where its representation and head are.
        names: ``"rep"``, ``""`` for the logits, or the path of a module for its output.
        edited: those of the names whose arriving gradient some method edits.
        recorder: receives what the taps see.
        inputs: record the network's inputs too, for a teacher.

    Raises:
        ModelError: no module of that name.
    """
    edited, handles = set(edited), []
    for name in sorted(set(names)):
        path = located.rep if name == REP else name
        try:
            module = model.get_submodule(path)
        except AttributeError as error:
            raise ModelError(f"tap {name!r}: the network has no module {path!r}") from error
        if name == REP and not located.rep_is_output:
            handles.append(module.register_forward_pre_hook(_OnInput(recorder, name, name in edited)))
        else:
            handles.append(module.register_forward_hook(_OnOutput(recorder, name, name in edited)))
    if inputs:
        handles.append(model.register_forward_pre_hook(_OnModelInput(recorder, INPUT, False), with_kwargs=True))
    return handles
