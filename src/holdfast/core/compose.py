"""A composition of methods in one run: what a training loop talks to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core import calibration, grammar, groups, hooks, inside, taps, teacher
from holdfast.core.asleep import Sleep
from holdfast.core.clock import Clock
from holdfast.core.errors import UsageError
from holdfast.core.extras import Extras
from holdfast.core.layers import keep_outputs
from holdfast.core.locate import Located, locate, make_tappable
from holdfast.core.member import Member, members
from holdfast.core.method import Method, Sum
from holdfast.core.rates import Rates
from holdfast.core.start import StartingPoint
from holdfast.core.streams import Stream
from holdfast.core.taps import Recorder
from holdfast.core.teacher import Teacher
from holdfast.core.types import Batch, Context, Step, parameter_refs
from holdfast.core.watch import Watch


def compose(*parts: str | Method | Sum) -> Composition:
    """Methods to train with, from their text form, from objects, or from both.

    Args:
        parts: texts such as ``"rifle(periods=4)+ptr(R=3)"``, methods, or sums of them; joined in order. The
            empty text and ``"plain"`` stand for no method.

    Raises:
        UsageError: a text is not understood, a value out of range.
        ConflictError: two methods own one thing.
    """
    total = Sum()
    for part in parts:
        if not isinstance(part, str | Method | Sum):
            raise UsageError(f"compose takes texts and methods, got a {type(part).__name__}")
        total = total + (grammar.parse(part) if isinstance(part, str) else part)
    return Composition(total)


class Composition:
    """Methods bound to one network for one run, and the loop that uses them.

    ```python
    model = methods.prepare(model, total_steps=9000, steps_per_epoch=300)
    optimizer = SGD(methods.param_groups(model, lr=1e-3, head_lr=1e-2), momentum=0.9)
    for x, y in loader:
        x, y = methods.on_batch(x, y)
        loss = methods.loss(F.cross_entropy(model(x), y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        methods.step(optimizer)
    ```
    """

    def __init__(self, expression: Sum) -> None:
        self.expression = expression
        self._members: list[Member] = members(expression)
        self._handles: list[Any] = []
        self._rates: Rates | None = None
        self._teacher: Teacher | None = None
        self._batch: Batch | None = None
        self.watch = Watch()  # the angles between the gradients of task and penalties

    def __str__(self) -> str:
        return str(self.expression)

    # -- before training ---------------------------------------------------------------------------------
    def prepare(
        self,
        model: nn.Module,
        head: str | None = None,
        *,
        total_steps: int | None = None,
        steps_per_epoch: int | None = None,
        seed: int = 0,
        penalty_decay: float = 1.0,
        source_head: nn.Module | None = None,
        streams: Mapping[str, Stream] | None = None,
        teacher_dtype: torch.dtype | None = None,
        score: Callable[[], float] | None = None,
    ) -> nn.Module:
        """Bind the methods to a network as it is now: this is the starting point w⁰.

        Call it before the optimiser exists, and before ``torch.compile`` or data-parallel wrappers.

        Args:
            model: the network, with its new head in place; changed in place and returned.
            head: module path of the new head; found for timm, torchvision and Hugging Face classifiers.
            total_steps: optimiser steps of the whole training, for methods with a schedule.
            steps_per_epoch: optimiser steps per epoch, for methods that act per epoch.
            seed: of all random numbers that the methods draw.
            penalty_decay: factor in (0, 1] on every penalty after each epoch, proximal steps included.
            source_head: the pre-trained network's own head, for methods that keep the source classes.
            streams: data beside the target's, for methods that train on them too: ``{"source": Stream(dataset)}``.
            teacher_dtype: what the frozen starting point computes in, as ``torch.bfloat16``; else the network's type.
            score: gives the network's validation score, higher is better, for methods that choose by it at the end.

        Raises:
            ModelError: no linear head is found.
            UsageError: a method needs one of these and it is missing; prepared before.
        """
        if self._rates is not None:
            raise UsageError("these methods are bound to a network already: compose(...) again, or call remove() first")
        self.clock = Clock(seed, total_steps, steps_per_epoch, penalty_decay=penalty_decay)
        self.model, self.located = model, locate(model, head)
        make_tappable(model, self.located)
        for member in self._walk():
            member.method.edit_model(model, member.state)
        self._refs = parameter_refs(model, self.located.head)
        self._start, self._teacher, self._calibrated = StartingPoint(), None, False
        self._recorder = Recorder(lambda *at: hooks.edited(self._walk(), *at))
        ctx = Context(self.located, self._refs, self._start, self.clock, source_head, streams or {}, score=score)
        self._bind(ctx)
        self._install_taps(model, self.located, teacher_dtype)
        owners = hooks.rate_owners(self._walk())
        hooks.ready_for_two_passes(list(self._walk()))
        self._sleep = Sleep(model, [m for m in self._walk() if m.method.puts_to_sleep], self.clock)
        self._handles.append(self._sleep)
        factors = functools.partial(hooks.rate_factors, list(self._walk()), self.clock)
        self._rates = Rates(self._extras.all(), owners, self._decayed, factors, self._sleep.drop_gradients, ctx.rates)
        return model

    def _bind(self, ctx: Context) -> None:
        for member in self._walk():
            member.state = member.method.bind(self.model, ctx)
            member.state.key = member.key
        self._decayed = hooks.decay_owners(self._walk())
        self._extras = Extras(self._walk(), ctx.parameters, ctx.source_heads)

    def _install_taps(self, model: nn.Module, located: Located, teacher_dtype: torch.dtype | None) -> None:
        wanted = [(tap, m.method.edits_features) for m in self._walk() for tap in m.taps]
        names, edited = [tap for tap, _ in wanted], [tap for tap, edits in wanted if edits]
        self._recorder.copied = keep_outputs(model, names)
        self._teacher = teacher.wanted(self._walk(), model, located, teacher_dtype, self._recorder.copied)
        self._handles = taps.install(model, located, names, edited, self._recorder, inputs=self._teacher is not None)
        self._handles += inside.install(model, self._walk(), self.clock)

    def describe(self) -> list[str]:
        """What each bound method acts on, one line each, the wrapped ones after their wrapper."""
        self._prepared()
        return [f"{m.key}: {line}" for m in self._walk() if (line := m.method.describe(m.state))]

    def param_groups(
        self, model: nn.Module, lr: float, head_lr: float | None = None, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]:
        """Groups for the host's optimiser: body, head, what methods add, and those without decay.

        Args:
            model: the prepared network, wrapped or not.
            lr: the body's rate.
            head_lr: the head's rate; ``lr`` where None.
            weight_decay: decay of convolution and linear weights that no penalty owns.
        """
        self._prepared()
        mine, theirs = {id(r.param) for r in self._refs}, {id(p) for p in model.parameters()}
        if mine - theirs:
            raise UsageError("param_groups: this is not the network that was prepared; pass the one prepare() returned")
        return groups.param_groups(
            self._refs, self._extras, self._decayed, lr=lr, head_lr=head_lr, weight_decay=weight_decay
        )

    def calibrate(self, loader: Iterable[Any], as_batch: Callable[[Any], Any] | None = None) -> None:
        """Let the methods that measure something before training read data; done once, and not again on resume.

        Args:
            loader: (inputs, targets) or (inputs, targets, indices) as the network takes them; readable more than once.
            as_batch: turns what another kind of loader gives into such a tuple.
        """
        self._prepared()
        if not self._calibrated:
            self._calibrated = calibration.run(self._walk(), self.model, loader, as_batch)

    # -- each step ---------------------------------------------------------------------------------------
    def on_batch(self, x: Tensor, y: Tensor, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The batch as the methods want it; needed only where one of them transforms batches or reads labels."""
        batch = Batch(x, y, index)
        for member in self._walk():
            batch = member.method.on_batch(batch, member.state)
        self._batch = batch
        return batch.x, batch.y

    def loss(self, task_loss: Tensor) -> Tensor:
        """The regularised loss, whose ``backward()`` gives the edited gradient.

        Args:
            task_loss: J, the batch mean of the task's loss, a scalar.

        Returns:
            A scalar of value J + Ω; ``task_loss`` itself outside training.
        """
        self._prepared()
        if not (torch.is_grad_enabled() and task_loss.requires_grad):
            return task_loss
        step = self._open_step(task_loss)
        everything = list(self._walk())
        wrapped, outside = hooks.penalties(self._members, step)
        step.forget()
        self.clock.see_loss(task_loss)  # after the forwards that penalties make: they are of this micro-batch
        if self.watch.on or hooks.must_part(everything):
            self._extras.list_trained(task_loss, step)
        return self._sleep.bridge(hooks.joined(task_loss, wrapped, outside, everything, step, self.watch))

    def step(self, optimizer: Any) -> None:
        """Tell the methods that the optimiser stepped; does nothing where the step was skipped.

        Args:
            optimizer: the host's, after its ``step()``.
        """
        rates = self._prepared()
        self._recorder.consume()
        self._batch = None
        if not rates.was_taken(optimizer):
            return
        self._extras.clear_gradients()
        self.clock.advance()
        for member in self._walk():
            member.method.after_step(self.clock, member.state, optimizer)

    @property
    def log(self) -> dict[str, Tensor | float]:
        """This step's figures, ``"<stem>.<figure>"``: detached tensors or numbers, not synchronised."""
        return {f"{m.key}.{name}": value for m in self._walk() for name, value in m.state.figures.items()}

    # -- after training, and across runs -----------------------------------------------------------------
    def on_fit_end(self, model: nn.Module | None = None) -> dict[str, float]:
        """Let the methods finish, once, after training; returns what they report, ``"<stem>.<figure>"``."""
        model = self.model if model is None else model
        found = [(m.key, m.method.on_fit_end(model, m.state)) for m in self._walk()]
        return {f"{key}.{name}": value for key, figures in found for name, value in figures.items()}

    def remove(self) -> None:
        """Take every hook off the network and the optimiser."""
        for handle in self._handles:
            handle.remove()
        hooks.close_readers(self._walk())
        if self._rates is not None:
            self._rates.remove()
        self._handles, self._rates = [], None

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, the starting point included; loads with ``weights_only=True``."""
        rates = self._prepared()
        return {
            "methods": str(self),
            "clock": self.clock.state_dict(),
            "states": {m.key: m.state.state_dict() for m in self._walk()},
            "calibrated": self._calibrated,
            "start": self._start.state_dict(),
            "teacher": None if self._teacher is None else self._teacher.state_dict(),
            "rates": dict(rates.base),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore a run, after ``prepare`` with the same methods.

        Raises:
            UsageError: the state is of other methods.
            StartingPointError: the saved starting point is missing or does not fit.
        """
        rates = self._prepared()
        if saved["methods"] != str(self):
            raise UsageError(f"the checkpoint is of {saved['methods']}, this run of {self}: use the same methods")
        self.clock.load_state_dict(saved["clock"])
        self._calibrated = saved["calibrated"]
        self._start.load_state_dict(saved["start"])
        if self._teacher is not None:
            self._teacher.load_state_dict(saved["teacher"])
        for member in self._walk():
            member.state.load_state_dict(saved["states"][member.key])
        rates.base = dict(saved["rates"])

    # -- inside ------------------------------------------------------------------------------------------
    def _prepared(self) -> Rates:
        if self._rates is None:
            raise UsageError("no network yet: call methods.prepare(model, ...) first")
        return self._rates

    def _walk(self) -> Iterator[Member]:
        for member in self._members:
            yield from member.walk()

    def _open_step(self, task_loss: Tensor) -> Step:
        recording = self._recorder.consume()
        batch, self._batch = self._batch, None  # the labels of one loss are never taken for the next one's
        step = Step(self.clock, self.clock.micro, task_loss, recording.tapped, recording.inputs, batch)
        step.versions, step.cast = recording.versions, recording.cast
        step.run_teacher, step.run_aside = self._teacher, functools.partial(self._recorder.aside, self.model)
        recording.step = step
        self._extras.follow(task_loss.device)
        return step
