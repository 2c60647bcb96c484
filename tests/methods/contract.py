"""The suite that every method passes.

``check_method(method)`` runs all of it; test files usually let pytest run the checks one by one::

    @contract.every_check
    def test_contract(check):
        check(PtR(T=math.inf))

Each check takes the method as it acts (a gate open, a strength above 0) and fails where the method breaks the promise
that the check's name states.
"""

import math

import pytest
import torch
import torch.nn.functional as F

import holdfast
from holdfast.core.errors import ConflictError
from holdfast.core.method import Method, Sum
from holdfast.core.registry import methods as registered
from holdfast.core.streams import Reader
from methods import hosts, text_forms
from methods.loop import (
    ADDITIVE_NETWORKS,
    NETWORKS,
    Loop,
    assert_close,
    assert_equal,
    differ,
    prepared_with,
)
from reference.networks import HEAD


def zero_strength_equals_plain_training(method: Method) -> None:
    """Bit for bit: weights, batch-norm's buffers and the losses of a run with momentum."""
    for make in NETWORKS:
        plain, zero = Loop("", make).train(), Loop(method.at_zero_strength(), make).train()
        assert_equal(zero.weights(), plain.weights(), make.__name__)
        assert zero.losses == plain.losses


def the_method_acts(method: Method) -> None:
    """The instance under test changes training at all: else the other checks would say nothing."""
    assert any(differ(Loop(method, make).train().weights(), Loop("", make).train().weights()) for make in NETWORKS)


def no_parameter_is_renamed(method: Method) -> None:
    """Names, shapes and identity stay, and the groups hold each trainable parameter once."""
    for make in NETWORKS:
        model, fresh = make(), make()
        before = dict(model.named_parameters())
        methods = holdfast.compose(method)
        methods.prepare(model, HEAD, **prepared_with(make))
        after = dict(model.named_parameters())
        assert list(after) == list(before)
        assert all(after[name] is before[name] for name in before)
        assert list(model.state_dict()) == list(fresh.state_dict())
        grouped = [p for group in methods.param_groups(model, lr=0.1) for p in group["params"]]
        assert len(grouped) == len(set(map(id, grouped)))
        assert {id(p) for p in before.values() if p.requires_grad} <= set(map(id, grouped))


def evaluation_passes_are_untouched(method: Method) -> None:
    """Outputs are those of a network that was never prepared, J comes back as it is, and the log stands still."""
    for make in NETWORKS:
        loop = Loop(method, make).train(4)
        bare = make().eval()
        bare.load_state_dict(loop.weights())
        log = dict(loop.methods.log)
        x, y = loop.batches[0]
        loop.model.eval()
        with torch.no_grad():
            J = F.cross_entropy(loop.model(x), y)
            assert loop.methods.loss(J) is J
            assert torch.equal(loop.model(x), bare(x))
        with torch.inference_mode():
            assert torch.equal(loop.model(x), bare(x))
        assert loop.methods.log.keys() == log.keys()
        assert all(loop.methods.log[name] is value for name, value in log.items())


def finite_at_the_start_and_on_constants(method: Method) -> None:
    """No NaN at w = w⁰, on constant features, nor where the task's gradient is zero."""
    for make in NETWORKS:
        loop = Loop(method, make)
        x, y = loop.batches[0]
        cases = (
            (x, F.cross_entropy),
            (torch.zeros_like(x), F.cross_entropy),
            (x, lambda z, y: z.sum() * 0),
            (x, lambda z, y: F.cross_entropy(z * 0, y)),
        )
        for images, J in cases:
            loop.optimizer.zero_grad()
            images, labels = loop.methods.on_batch(images, y)
            loss = loop.methods.loss(J(loop.network(images), labels))
            loss.backward()
            assert math.isfinite(loss.item())
            assert all(p.grad is None or p.grad.isfinite().all() for p in loop.model.parameters())
            loop.finish()
            assert all(p.isfinite().all() for p in loop.model.parameters())


def penalties_pass_gradcheck(method: Method) -> None:
    """The gradient of J + Ω against central differences, in float64, off the starting point."""
    for penalty in [method, *method.children]:
        if penalty.penalises and not penalty.edits_features and not penalty.children:
            for make in ADDITIVE_NETWORKS:
                loss_passes_gradcheck(Loop(penalty, make).train(2))


def loss_passes_gradcheck(loop: Loop) -> None:
    """The loss of one batch as a function of the parameters, which gradcheck moves in place."""
    states = [vars(member.state).values() for member in loop.methods._walk()]
    moving = [loop.methods.clock, *(v for values in states for v in values if isinstance(v, Reader))]
    here = [part.state_dict() for part in moving]

    def regularised(*_: torch.Tensor) -> torch.Tensor:
        for part, at in zip(moving, here, strict=True):
            part.load_state_dict(at)  # the same step each time, on the same samples
        return loop.loss(*loop.batches[2])

    torch.autograd.gradcheck(regularised, tuple(loop.model.parameters()), fast_mode=True)


def gradients_scale_with_the_loss(method: Method) -> None:
    """s·loss gives s·gradient, for the factors of scalers and of accumulation."""
    for make in NETWORKS:
        for scale in (1 / 3, 2.0**16):
            one, other = Loop(method, make).train(3), Loop(method, make).train(3)
            x, y = one.batches[1]
            wanted = {name: scale * g for name, g in one.gradients(x, y).items()}
            assert_close(other.gradients(x, y, scale), wanted, rtol=1e-12)


def accumulation_keeps_the_batch_law(method: Method) -> None:
    """4 micro-batches of 8 equal one of 32 for additive methods; the others are not additive for a reason."""
    differs = False
    for make in ADDITIVE_NETWORKS:
        whole, parts = Loop(method, make), Loop(method, make)
        generator = torch.Generator().manual_seed(5)
        for _ in range(3):
            x = torch.randn(32, 3, 6, 6, generator=generator, dtype=torch.float64)
            y = torch.randint(4, (32,), generator=generator)
            whole.step((x, y))
            parts.step(*zip(x.split(8), y.split(8), strict=True))
        if method.additive:
            assert_close(parts.weights(), whole.weights(), rtol=1e-9)
        differs = differs or differ(parts.weights(), whole.weights())
    assert method.additive or differs, f"{method} is additive here: say so, or test it where it is not"


def seeded_runs_repeat(method: Method) -> None:
    """The same seed gives the same bits, and the global generator is never touched."""
    for make in NETWORKS:
        before = torch.get_rng_state()
        first = Loop(method, make, seed=11).train()
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(7)
        assert_equal(Loop(method, make, seed=11).train().weights(), first.weights())


def resumed_run_equals_the_uninterrupted(method: Method) -> None:
    """Saved in mid-epoch, at an epoch's end and after a skipped step; weights restored before or after ``prepare``."""
    for make in NETWORKS:
        for stop in (0, 2, 3, 7):
            whole = Loop(method, make)
            whole.train(stop)
            whole.accumulate([whole.batches[0]])  # a step that a scaler would skip
            whole.optimizer.zero_grad()
            whole.methods.step(whole.optimizer)
            file = whole.save()
            whole.train(8 - stop)
            for first in (True, False):
                loop = Loop.resumed(file, method, make, weights_first=first).train(8 - stop)
                assert_equal(loop.weights(), whole.weights(), f"{make.__name__} from step {stop}:")


def works_beside_every_other(method: Method) -> None:
    """A composition trains in both orders, or is refused with an error that names both."""
    for stem in registered():
        if stem < method.stem:
            continue  # that method's own suite tries the pair
        other = text_forms.example(stem)
        for pair in (Sum((method, other)), Sum((other, method))):
            conflict = trains_or_conflicts(pair)
            for party in (method, other) if conflict else ():
                named = [str(m) for m in (party, *party.children)]
                assert any(name in conflict for name in named), f"does not name {party}: {conflict}"


def trains_or_conflicts(pair: Sum) -> str:
    """The conflict's message, or nothing after some finite steps."""
    try:
        loop = Loop(pair).train(3)
    except ConflictError as error:
        return str(error)
    assert all(value.isfinite().all() for value in loop.weights().values())
    assert math.isfinite(loop.losses[-1])
    return ""


CHECKS = (
    the_method_acts,
    zero_strength_equals_plain_training,
    no_parameter_is_renamed,
    evaluation_passes_are_untouched,
    finite_at_the_start_and_on_constants,
    penalties_pass_gradcheck,
    gradients_scale_with_the_loss,
    accumulation_keeps_the_batch_law,
    seeded_runs_repeat,
    resumed_run_equals_the_uninterrupted,
    works_beside_every_other,
    text_forms.text_round_trips,
    *hosts.CHECKS,
)


def check_method(method: Method) -> None:
    """Run every check."""
    for check in CHECKS:
        check(method)


every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
