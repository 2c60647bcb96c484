"""The contract that every method fulfils."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from holdfast.core.errors import UsageError
from holdfast.core.values import checked, text

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from holdfast.core.asleep import Asleep
    from holdfast.core.clock import Clock
    from holdfast.core.closed_form import ClosedForm
    from holdfast.core.inside import Edit
    from holdfast.core.types import Batch, Context, Step

    Penalty = Tensor | ClosedForm | None
    Gradients = list[Tensor | None]


def hyper(
    default: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    infinite: bool = False,
    doc: str = "",
) -> Any:
    """A hyper-parameter of a method: its default, its range and one line of documentation.

    Args:
        default: value when the user gives none.
        low: smallest value allowed.
        high: largest value allowed.
        above: bound that the value must exceed.
        infinite: whether inf has a meaning.
        doc: one line, shown by ``holdfast methods NAME``.
    """
    metadata = {"low": low, "high": high, "above": above, "infinite": infinite, "doc": doc}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class State:
    """What one run adds to a method: gate latches, masks, accumulators.

    The fields go into the checkpoint; one that is a module trains beside the network (``core/extras.py``). ``key``
    names the method within the composition and ``figures`` holds this step's log values; neither is saved.
    """

    key: str = dataclasses.field(default="", kw_only=True)
    figures: dict[str, Tensor | float] = dataclasses.field(default_factory=dict, kw_only=True)

    def state_dict(self) -> dict[str, Any]:
        """The fields to save, by name; of a module its parameters and buffers."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.kw_only}
        return {name: v.state_dict() if hasattr(v, "load_state_dict") else v for name, v in values.items()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        for name, value in saved.items():
            if hasattr(mine := getattr(self, name), "load_state_dict"):
                mine.load_state_dict(value)
            else:
                setattr(self, name, value)


@dataclass(frozen=True)
class Method(ABC):
    """A frozen dataclass of hyper-parameters whose hooks change training.

    Every hook is a no-op by default and returns a value; only ``edit_model`` and ``after_step`` may change
    the model. What a run adds lives in the ``State`` that ``bind`` makes, so that one method object may serve
    several models.
    """

    stem: ClassVar[str] = ""
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    taps: ClassVar[tuple[str, ...]] = ()
    needs_teacher: ClassVar[bool] = False
    streams: ClassVar[dict[str, str]] = {}
    additive: ClassVar[bool] = True  # gradients of micro-batches add up to the whole batch's

    preset: str = dataclasses.field(default="", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if self.preset and self.preset not in self.presets:
            known = ", ".join(sorted(self.presets)) or "none"
            raise UsageError(f"{self.stem}: unknown preset {self.preset!r}; there are: {known}")
        for f in hyper_parameters(type(self)):
            object.__setattr__(self, f.name, checked(self.stem, type(self), f, getattr(self, f.name)))

    # -- what it is -------------------------------------------------------------------------------------
    @property
    def children(self) -> tuple[Method, ...]:
        """The methods that this one wraps."""
        return ()

    @property
    def penalises(self) -> bool:
        """Whether the method adds a term to the loss."""
        return type(self).penalty is not Method.penalty

    @property
    def edits_features(self) -> bool:
        """Whether the method edits the gradient at a tap."""
        return type(self).feature_grad is not Method.feature_grad

    @property
    def edits_forward(self) -> bool:
        """Whether the method changes what modules compute in training."""
        return type(self).edit_forward is not Method.edit_forward

    @property
    def matches_student(self) -> bool:
        """Whether the teacher's batch-norms follow the student's mode; else they are in evaluation mode."""
        return False

    @property
    def calibrates(self) -> bool:
        """Whether the method measures something on data before training."""
        return type(self).calibrate is not Method.calibrate

    @property
    def combines_grads(self) -> bool:
        """Whether the method owns the rule between the two parameter gradients."""
        return type(self).combine_grads is not Method.combine_grads

    @property
    def proximal(self) -> bool:
        """Whether part of the penalty is a step of its own after the optimiser's, which no gradient rule sees."""
        return False

    @property
    def puts_to_sleep(self) -> bool:
        """Whether some parameters do not train at some time."""
        return type(self).asleep is not Method.asleep

    @property
    def owned_rates(self) -> tuple[str, ...]:
        """Groups (``"head"``, ``"body"``) whose learning rate the method schedules itself."""
        return ()

    def at_zero_strength(self) -> Method:
        """The same method with its strength at zero: training with it must equal plain training bit for bit."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its zero strength is")

    # -- the hooks, in the order of a run ---------------------------------------------------------------
    def bind(self, model: nn.Module, ctx: Context) -> State:
        """Take what the method needs from the model as it is at the start."""
        return State()

    def describe(self, state: State) -> str:
        """What the bound method acts on and how, in one line: parameters, reduction, factors, the head's own term."""
        return ""

    def tap_names(self, state: State) -> Iterable[str]:
        """Where features are read in this network: ``taps``, unless they depend on what ``bind`` found."""
        return self.taps

    def owned_parameters(self, state: State) -> Iterable[str]:
        """Names of the parameters whose decay the method replaces; the optimiser's must be 0 there."""
        return ()

    def edit_model(self, model: nn.Module, state: State) -> None:
        """Change the network once, before the optimiser exists; no parameter is renamed."""

    def edit_forward(self, model: nn.Module, state: State) -> Mapping[str, Edit]:
        """What changes in training forwards: module path → generator around its calls; nothing is mutated here."""
        return {}

    def calibrate(self, model: nn.Module, loader: Iterable[Batch], state: State) -> None:
        """Measure something on the training data before training, without a trace on the model.

        The loader can be read more than once and gives ``Batch``es on the model's device.
        """

    def on_batch(self, batch: Batch, state: State) -> Batch:
        """Transform a training batch."""
        return batch

    def penalty(self, step: Step, state: State) -> Penalty:
        """The weighted term that is added to the task loss: a scalar tensor or a closed form."""
        return None

    def feature_grad(self, tap: str, z: Tensor, g: Tensor, step: Step, state: State) -> Tensor | None:
        """The *addition* to the gradient ``g`` that arrives at features ``z``; both (B, ...)."""
        return None

    def combine_grads(self, g_task: Gradients, g_pen: Sequence[Tensor | None], step: Step, state: State) -> Gradients:
        """The gradient to apply, from the task's and the wrapped penalties'."""
        raise NotImplementedError

    def wrapped_weight(self, clock: Clock) -> float:
        """Factor λ of the wrapped penalties now, for methods that own the gradient rule."""
        return 1.0

    def lr_scale(self, clock: Clock, state: State) -> dict[str, float]:
        """Factor on the initial rate of each group in ``owned_rates``."""
        return {}

    def asleep(self, clock: Clock, state: State) -> Asleep | None:
        """What does not train in the step to come; the same object for as long as it is the same."""
        return None

    def after_step(self, clock: Clock, state: State, optimizer: Optimizer) -> None:
        """Called after each optimiser step that was taken."""

    def on_fit_end(self, model: nn.Module, state: State) -> dict[str, float]:
        """Called once, after training; returns figures of what it did."""
        return {}

    # -- composition and text ---------------------------------------------------------------------------
    def __add__(self, other: Method | Sum) -> Sum:
        return Sum((self,)) + other

    def __str__(self) -> str:
        values = self.presets.get(self.preset, {})
        shown = [
            f"{f.name}={text(getattr(self, f.name))}"
            for f in hyper_parameters(type(self))
            if getattr(self, f.name) != values.get(f.name, f.default)
        ]
        inner = [str(Sum(self.children))] if self.children else []
        head = self.stem + (f"@{self.preset}" if self.preset else "")
        return f"{head}({', '.join(inner + shown)})" if inner or shown else head


@dataclass(frozen=True)
class Sum:
    """Methods side by side, in order."""

    methods: tuple[Method, ...] = ()

    def __add__(self, other: Method | Sum) -> Sum:
        if isinstance(other, Method):
            return Sum((*self.methods, other))
        if isinstance(other, Sum):
            return Sum(self.methods + other.methods)
        return NotImplemented

    def __iter__(self) -> Iterator[Method]:
        return iter(self.methods)

    def __str__(self) -> str:
        return "+".join(str(m) for m in self.methods) or "plain"


def hyper_parameters(cls: type[Method]) -> list[dataclasses.Field[Any]]:
    """The fields of a method that a user sets, in order."""
    return [f for f in dataclasses.fields(cls) if "doc" in f.metadata]
