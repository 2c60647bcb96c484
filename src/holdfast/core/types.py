"""What the hooks receive: parameters by kind, the context of a run, a batch, a step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from holdfast.core.errors import ModelError, UsageError
from holdfast.core.streams import Reader, Stream
from holdfast.core.taken import TakenRates
from holdfast.functional.noise import generator

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.locate import Located
    from holdfast.core.method import State
    from holdfast.core.start import StartingPoint

Kind = Literal["weight", "bias", "norm", "other"]
Include = Literal["weights", "+bias", "+norm", "all"]
_KINDS: dict[str, tuple[Kind, ...]] = {
    "weights": ("weight",),
    "+bias": ("weight", "bias"),
    "+norm": ("weight", "bias", "norm"),
    "all": ("weight", "bias", "norm", "other"),
}


@dataclass(frozen=True)
class ParamRef:
    """One parameter of the network: its name, its kind and whether it belongs to the new head."""

    name: str
    param: nn.Parameter
    kind: Kind
    is_head: bool

    def included(self, include: str) -> bool:
        """Whether the parameter's kind is among ``weights`` ⊂ ``+bias`` ⊂ ``+norm`` ⊂ ``all``."""
        return self.kind in _KINDS[include]


def parameter_refs(model: nn.Module, head: str) -> tuple[ParamRef, ...]:
    """Every parameter of the model, once, in the model's order.

    Weights are those of convolution, linear and embedding layers; biases those of the same layers; norm is
    every parameter of a normalisation layer; other is the rest (tokens, position embeddings, layer scales).
    """
    refs = []
    modules = dict(model.named_modules())
    for name, param in model.named_parameters():
        owner, _, leaf = name.rpartition(".")
        refs.append(ParamRef(name, param, _kind(modules[owner], leaf), owner == head or owner.startswith(head + ".")))
    return tuple(refs)


def _kind(module: nn.Module, leaf: str) -> Kind:
    if "norm" in type(module).__name__.lower():
        return "norm"
    if leaf.endswith("bias"):
        return "bias"
    return "weight" if leaf.endswith("weight") and len(getattr(module, leaf).shape) > 1 else "other"


@dataclass(frozen=True)
class Context:
    """What ``bind`` receives of a run."""

    located: Located
    parameters: tuple[ParamRef, ...]
    start: StartingPoint
    clock: Clock
    source: nn.Module | None = None
    streams: Mapping[str, Stream] = field(default_factory=dict)
    rates: TakenRates = field(default_factory=TakenRates)
    score: Callable[[], float] | None = None
    source_heads: list[nn.Module] = field(default_factory=list)

    def source_head(self, asks: object) -> nn.Module:
        """A copy of the pre-trained network's own head, on the device and of the type of the new one.

        Where it becomes a field of the method's state it trains along, at the body's rate: it is pre-trained too.

        Raises:
            UsageError: none was passed to ``prepare``, or it reads features of another width; names who asks.
        """
        if self.source is None:
            raise UsageError(
                f"{asks} keeps the source classes and needs the pre-trained network's own head: take it before you "
                "replace it and pass prepare(model, source_head=old_head)"
            )
        new = next(r.param for r in self.parameters if r.is_head)
        width = getattr(self.source, "in_features", self.located.in_features)
        if width != self.located.in_features:
            raise UsageError(
                f"{asks}: the source head reads {width} features, the network gives {self.located.in_features}: "
                "pass the head of the same network"
            )
        head = copy.deepcopy(self.source).to(new.device, new.dtype).requires_grad_(True)
        self.source_heads.append(head)
        return head

    def stream(self, name: str, asks: object) -> Reader:
        """A new reader at the beginning of a stream.

        Raises:
            UsageError: none of that name was passed to ``prepare``, or it is no ``Stream``; names who asks.
        """
        found = self.streams.get(name)
        if not isinstance(found, Stream):
            passed = ", ".join(f"{key!r}: {type(value).__name__}" for key, value in self.streams.items()) or "none"
            raise UsageError(
                f"{asks} trains on more than the target's data and needs the stream {name!r}, found {passed}: pass "
                f"prepare(model, streams={{{name!r}: holdfast.Stream(dataset)}}), or --{name} FOLDER to holdfast train"
            )
        return Reader(found, self.clock.seed, name)

    def validation_score(self, asks: object) -> Callable[[], float]:
        """What gives the network's validation score.

        Raises:
            UsageError: nothing was passed to ``prepare``; names who asks.
        """
        if self.score is None:
            raise UsageError(
                f"{asks} chooses on validation and found no score: pass prepare(model, score=function), which gives "
                "the network's validation score as it is when called; holdfast train needs a validation part"
            )
        return self.score

    def shared(self, include: str = "all") -> list[ParamRef]:
        """Parameters that exist in the source network, of the included kinds: w_S."""
        return [r for r in self.parameters if not r.is_head and r.included(include)]

    def head(self, include: str = "all") -> list[ParamRef]:
        """Parameters of the new head, of the included kinds."""
        return [r for r in self.parameters if r.is_head and r.included(include)]


@dataclass
class Batch:
    """A training batch on its way to the network: inputs, targets, the samples' indices in the data set."""

    x: Tensor
    y: Tensor
    index: Tensor | None = None


@dataclass
class Step:
    """One call of ``loss``: the task loss, what the taps recorded since the last call, and the teacher's view.

    ``scale`` is the upstream factor of the backward pass (loss scaling, division by accumulation steps); it is
    known from the start of that pass on. ``edits`` is false while penalties are differentiated apart from the task:
    features are edited on the task's way back alone. Then ``params`` and ``names`` list what trains, in the order of
    the gradients; parameters from outside the network have the empty name.
    """

    clock: Clock
    micro: int
    task_loss: Tensor
    tapped: dict[str, list[Tensor]]
    inputs: list[tuple[Tensor, ...]] = field(default_factory=list)
    batch: Batch | None = None
    versions: dict[str, list[int]] = field(default_factory=dict)
    cast: torch.dtype | None = None
    run_teacher: Callable[[tuple[Tensor, ...], torch.dtype | None], dict[str, Tensor]] | None = None
    run_aside: Callable[..., dict[str, list[Tensor]]] | None = None
    scale: Tensor | None = None
    edits: bool = True
    params: list[Tensor] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _taught: list[dict[str, Tensor]] | None = None

    def features(self, tap: str) -> Tensor:
        """What the tap recorded, several forwards joined along the batch: (B, ...)."""
        seen = self.tapped.get(tap, [])
        if not seen:
            raise UsageError(
                f"tap {tap!r} recorded nothing: call the prepared model in training before methods.loss(...), "
                "and prepare it before torch.compile"
            )
        if [z._version for z in seen] != self.versions.get(tap, [z._version for z in seen]):
            raise ModelError(
                f"the features at {tap!r} were overwritten in place by what follows: compare at another module, or "
                "let the operation after it write into a new tensor"
            )
        return seen[0] if len(seen) == 1 else torch.cat(seen)

    def teacher(self, tap: str) -> Tensor:
        """The starting point's features at the same tap for the same inputs: one forward per step, no graph."""
        if self.run_teacher is None:
            raise UsageError("this method did not ask for a teacher: set needs_teacher")
        if self._taught is None:
            self._taught = [self.run_teacher(args, self.cast) for args in self.inputs]
        return self._taught[0][tap] if len(self._taught) == 1 else torch.cat([t[tap] for t in self._taught])

    def forget(self) -> None:
        """Let go of the teacher's features: what a penalty needs of them is in its graph."""
        self._taught = None

    def labels(self, asks: object, count: int) -> Tensor:
        """The batch's labels, (B,), as every method has left them.

        Args:
            asks: the method, for the message.
            count: B, the number of samples that the taps saw.

        Raises:
            UsageError: the batch did not pass through ``on_batch``, or its labels are not one class for each sample.
        """
        if self.batch is None:
            raise UsageError(
                f"{asks} needs the labels: call x, y = methods.on_batch(x, y) before each training forward, and loss "
                "after it"
            )
        y = self.batch.y
        if y.shape != (count,) or y.is_floating_point():
            raise UsageError(
                f"{asks} needs one class index for each of the {count} samples that the network saw, got labels of "
                f"shape {tuple(y.shape)} and type {y.dtype}: leave them unmixed, and call loss after every forward"
            )
        return y

    def begins(self, scale: Tensor) -> None:
        """The backward pass begins, with this upstream factor."""
        self.scale, self.clock.differentiated = scale, self.micro

    def features_of(self, tap: str, *inputs: Tensor) -> Tensor:
        """The tap's features (B, ...) for other inputs: a training forward that no other method sees or edits."""
        assert self.run_aside is not None
        return self.run_aside(*inputs)[tap][0]

    @property
    def fresh(self) -> bool:
        """Whether this is the first micro-batch since gradients were cleared."""
        return self.micro == 0 or all(p.grad is None for p in self.params)

    def generator(self, state: State, device: torch.device) -> torch.Generator:
        """A generator keyed by (seed, step, micro-batch, method); the global one is never touched."""
        return generator(device, self.clock.seed, self.clock.step, self.micro, state.key)


def trainable(refs: Iterable[ParamRef]) -> Iterator[ParamRef]:
    """Those that require a gradient now."""
    return (r for r in refs if r.param.requires_grad)
