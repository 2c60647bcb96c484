"""What the members of a composition do together at one hook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from holdfast.core.clock import Clock
from holdfast.core.closed_form import ClosedForm, Times
from holdfast.core.errors import ConflictError
from holdfast.core.member import Member
from holdfast.core.streams import Reader
from holdfast.core.surrogate import Grads, ScaleProbe, Surgery, Term
from holdfast.core.taps import LOGITS
from holdfast.core.types import Step
from holdfast.core.watch import Watch, keep_for_two_passes


def penalties(tops: Iterable[Member], step: Step) -> tuple[list[Term], list[Term]]:
    """Terms inside a gradient rule, and beside it; the value of each goes into its method's figures."""
    inside: list[Term] = []
    outside: list[Term] = []
    factor = step.clock.penalty_factor
    for top in tops:
        for member in top.walk():
            term = member.method.penalty(step, member.state)
            if term is not None and factor != 1:
                term = Times(term, factor) if isinstance(term, ClosedForm) else factor * term
            if term is not None:
                member.state.figures["penalty"] = term.total if isinstance(term, ClosedForm) else term.detach()
                (inside if member is not top else outside).append(term)
    return inside, outside


def gradient_rule(everything: Sequence[Member]) -> Member | None:
    """The member that owns the rule between the two gradients, if any."""
    return next((m for m in everything if m.method.combines_grads), None)


def must_part(everything: Sequence[Member]) -> bool:
    """Whether task and penalties need backward passes of their own.

    That is so under a gradient rule, and where a penalty on the logits would send its gradient through features that
    another method edits: an edit is of the task's gradient alone.
    """
    edits = any(m.method.edits_features for m in everything)
    on_logits = any(m.method.penalises and LOGITS in m.taps for m in everything)
    return gradient_rule(everything) is not None or (edits and on_logits)


def ready_for_two_passes(everything: Sequence[Member]) -> None:
    """Let networks that are compiled later be differentiated twice, where that is needed."""
    if must_part(everything):
        keep_for_two_passes()


def joined(
    task_loss: Tensor, inside: list[Term], outside: list[Term], everything: Sequence[Member], step: Step, watch: Watch
) -> Tensor:
    """The scalar of value J + Ω whose backward pass gives the edited gradient, watched where that is asked for."""
    watch.figures = {}
    if must_part(everything):
        total = surgery(task_loss, inside, outside, everything, step, watch).loss()
    else:
        total = summed(task_loss, outside, everything, step)
    if watch.on and outside and gradient_rule(everything) is None:
        total = ScaleProbe.apply(total, watch.look(task_loss, outside, step))
    return total


def summed(task_loss: Tensor, terms: Iterable[Term], everything: Sequence[Member], step: Step) -> Tensor:
    """J + Ω for one ordinary backward pass."""
    total = task_loss
    for term in terms:
        total = total + (term.as_tensor() if isinstance(term, ClosedForm) else term)
    if any(m.method.edits_features or m.method.edits_forward for m in everything):
        total = ScaleProbe.apply(total, step.begins)
    return total


def surgery(
    task_loss: Tensor, inside: list[Term], outside: list[Term], everything: Sequence[Member], step: Step, watch: Watch
) -> Surgery:
    """J and Ω for two backward passes, joined by the gradient rule; without one they are added."""
    rule = gradient_rule(everything)
    if rule is None:
        return Surgery(task_loss, inside, outside, 1.0, step, lambda g_task, _: g_task)
    method, state = rule.method, rule.state

    def combine(g_task: Grads, g_pen: Sequence[Tensor | None]) -> Grads:
        combined = method.combine_grads(g_task, g_pen, step, state)
        watch.hear(state.figures)
        return combined

    return Surgery(task_loss, inside, outside, method.wrapped_weight(step.clock), step, combine)


def edited(everything: Iterable[Member], tap: str, z: Tensor, g: Tensor, step: Step) -> Tensor:
    """The raw gradient at a tap plus every method's addition to it."""
    total = g
    for member in everything:
        if member.method.edits_features and tap in member.taps:
            addition = member.method.feature_grad(tap, z, g, step, member.state)
            if addition is not None:
                total = total + addition.to(total.dtype)
    return total


def decay_owners(everything: Iterable[Member]) -> dict[str, str]:
    """Name of each parameter whose weight decay a penalty replaces → that method's text.

    Raises:
        ConflictError: two penalties own one parameter; names both.
    """
    owners: dict[str, str] = {}
    for member in everything:
        for name in member.method.owned_parameters(member.state):
            if name in owners:
                raise ConflictError(f"{owners[name]} and {member.method} both penalise {name}: keep one of them")
            owners[name] = str(member.method)
    return owners


def rate_owners(everything: Iterable[Member]) -> dict[str, str]:
    """Role of each group whose rate a method schedules → that method's text."""
    return {role: str(m.method) for m in everything for role in m.method.owned_rates}


def rate_factors(everything: Iterable[Member], clock: Clock) -> dict[str, float]:
    """Role → factor on the group's initial rate, for the step to come."""
    factors: dict[str, float] = {}
    for member in everything:
        factors.update(member.method.lr_scale(clock, member.state))
    return factors


def close_readers(everything: Iterable[Member]) -> None:
    """End the processes that load data beside the target's."""
    for member in everything:
        for value in vars(member.state).values():
            if isinstance(value, Reader):
                value.close()
