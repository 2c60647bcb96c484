"""What happens around the host's ``optimizer.step()``: rates that methods own, decay checks, taken steps.

torch calls global hooks around every optimiser's step. Ours look at the parameters, so the host need not hand the
optimiser over before its first step, and a step that a gradient scaler skips is seen to be skipped.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from holdfast.core.errors import ConflictError
from holdfast.core.groups import GIVEN
from holdfast.core.taken import TakenRates
from holdfast.core.types import ParamRef

Factors = Callable[[], dict[str, float]]


class Rates:
    """Watches the optimiser that trains the given parameters.

    Args:
        refs: parameters of the run; those of the head form the role ``"head"``, the others ``"body"``.
        owners: role → text of the method that owns its rate.
        decayed: parameter name → text of the method whose penalty replaces weight decay there.
        factors: role → factor on the group's initial rate, for the step about to be taken.
        first: done before each step.
        taken: told of the rates that each step was taken with.
    """

    def __init__(
        self,
        refs: Sequence[ParamRef],
        owners: dict[str, str],
        decayed: dict[str, str],
        factors: Factors,
        first: Callable[[], None] = lambda: None,
        taken: TakenRates | None = None,
    ) -> None:
        self._by_id = {id(r.param): r for r in refs}
        self._owners, self._decayed, self._factors, self._first = owners, decayed, factors, first
        self._rates = TakenRates() if taken is None else taken
        self._taken = False
        self._saved: list[tuple[dict[str, Any], Any]] = []
        self._checked: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self.base: dict[str, float] = {}
        _watch(self)

    def remove(self) -> None:
        """Watch no longer."""
        _watching.discard(self)

    def was_taken(self, optimizer: Any) -> bool:
        """Whether a step was taken since the last call; always for what is not a torch optimiser."""
        taken, self._taken = self._taken, False
        return taken or not isinstance(getattr(optimizer, "optimizer", optimizer), Optimizer)

    def _mine(self, optimizer: Optimizer) -> bool:
        return any(id(p) in self._by_id for group in optimizer.param_groups for p in group["params"])

    def before_step(self, optimizer: Optimizer) -> None:
        """Check the optimiser once, and put the owned rates into its groups."""
        if not self._mine(optimizer):
            return
        self._take_back()  # from a step that raised
        self._first()
        if optimizer not in self._checked:
            self._check(optimizer)
            self._checked.add(optimizer)
        factors = self._factors() if self._owners else {}
        for i, group in enumerate(optimizer.param_groups if factors else ()):
            role = self._role(group)
            if role in factors:
                base = self.base.setdefault(f"{role}.{i}", float(_initial(group)))
                self._saved.append((group, group["lr"]))
                group["lr"] = base * factors[role]

    def _take_back(self) -> None:
        for group, lr in self._saved:
            group["lr"] = lr
        self._saved.clear()

    def after_step(self, optimizer: Optimizer) -> None:
        """Give the host its rates back, and see whether the step was taken."""
        mine = self._mine(optimizer)
        if mine:
            self._rates.note(optimizer)
        self._take_back()
        if mine:
            # a fused optimiser is called even when its scaler found an overflow; it then does nothing
            found = getattr(optimizer, "found_inf", None)
            self._taken = self._taken or found is None or not bool(found.item())

    def _role(self, group: dict[str, Any]) -> str:
        heads = {self._by_id[id(p)].is_head for p in group["params"] if id(p) in self._by_id}
        return {frozenset({True}): "head", frozenset({False}): "body"}.get(frozenset(heads), "mixed" if heads else "")

    def _check(self, optimizer: Optimizer) -> None:
        """The optimiser must leave to the methods what they own."""
        roles = {self._role(group) for group in optimizer.param_groups}
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        training = {_part(r) for key, r in self._by_id.items() if r.param.requires_grad or key in held}
        for role, owner in self._owners.items():
            if role in training and role not in roles:
                raise ConflictError(
                    f"{owner} schedules the {role}'s learning rate, but the optimiser has no parameter group of the "
                    f"{role} alone: build it from methods.param_groups(model, lr=...)"
                )
        for group in optimizer.param_groups:
            owned = [self._by_id[id(p)].name for p in group["params"] if id(p) in self._by_id]
            owned = [name for name in owned if name in self._decayed]
            if owned and group.get("weight_decay", 0):
                raise ConflictError(
                    f"{self._decayed[owned[0]]} replaces weight decay on {owned[0]}, but the optimiser's group has "
                    f"weight_decay={group['weight_decay']}: set it to 0 there, or use methods.param_groups(...)"
                )


def _part(ref: ParamRef) -> str:
    return "head" if ref.is_head else "body"


def _initial(group: dict[str, Any]) -> Any:
    """The rate that the user gave a group, whatever a scheduler has made of it."""
    return group.get(GIVEN, group.get("initial_lr", group["lr"]))


_watching: weakref.WeakSet[Rates] = weakref.WeakSet()
_hooked = False


def _watch(rates: Rates) -> None:
    """Tell it of every optimiser's steps for as long as it lives.

    One pair of hooks serves all runs and stays: torch walks its hooks while they run, and a run that the garbage
    collector takes just then must not change their number.
    """
    global _hooked
    if not _hooked:
        register_optimizer_step_pre_hook(_before)
        register_optimizer_step_post_hook(_after)
        _hooked = True
    _watching.add(rates)


def _before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for rates in list(_watching):
        rates.before_step(optimizer)


def _after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for rates in list(_watching):
        rates.after_step(optimizer)
