"""The angles between the gradients of task and penalties, and that measuring them changes nothing."""

import pytest
import torch

from holdfast.core.watch import ANGLES
from methods.loop import NETWORKS, Loop, assert_equal, differ
from reference import dtnh as oracle
from reference.training import add

PENALTIES = ["l2(alpha=0.7, beta=0.3)", "l2_sp(alpha=0.7)", "know_dist(0.3)", "l2_sp(alpha=0.7)+know_dist(0.3)"]
PLAIN_SUM = {"angle", "conflict", "angle3", "angle4"}


def literal(g_J, g_O, lam=1.0):
    """The angles of the plain sum from flattened vectors."""
    total = add(g_J, g_O, lam)
    return {"angle": oracle.angle(g_J, g_O), "angle3": oracle.angle(total, g_J), "angle4": oracle.angle(total, g_O)}


def watching(text, make):
    loop = Loop(text, make)
    loop.methods.watch.on = True
    return loop


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("text", PENALTIES)
def test_angles_are_those_of_the_flattened_gradients(make, text):
    loop, seen = watching(text, make).train(1), set()  # at w⁰ itself some penalties have no gradient
    for _ in range(4):
        x, y = loop.batches[0]
        weights = loop.weights()
        task, whole = Loop("", make), Loop(text, make)  # both start at the same w⁰ as the loop
        for other in (task, whole):
            other.model.load_state_dict(weights)
        g_J = task.gradients(x, y)
        g_O = add(whole.gradients(x, y), g_J, -1.0)
        loop.step((x, y))
        found = {name: value.item() for name, value in loop.methods.watch.figures.items()}
        assert found.keys() == PLAIN_SUM
        assert found["conflict"] == (found["angle"] > 90)
        for name, wanted in literal(g_J, g_O).items():
            assert found[name] == pytest.approx(wanted, abs=1e-5), name
        seen.add(found["angle"])
    assert len(seen) == 4


def test_both_signs_are_seen():
    """∇Ω = w: with the loss −½‖w‖² the two gradients are opposite, with +½‖w‖² they are one."""
    loop = watching("l2(alpha=1, beta=1)", NETWORKS[0])
    for sign, degrees in ((-1, 180), (1, 0)):
        loop.methods.loss(sign * 0.5 * sum(p.square().sum() for p in loop.model.parameters())).backward()
        figures = loop.methods.watch.figures
        assert figures["angle"].item() == pytest.approx(degrees, abs=1e-5)
        assert figures["conflict"].item() == (degrees > 90)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        *PENALTIES,
        "l1_sp(alpha=0.1)",
        "ptr(T=inf)+l2_sp(alpha=0.7)",
        "ptr(T=inf)+bss",
        "ptr(T=inf)+lwf",
        "dropout(0.5)+know_dist(0.3)",
        "rifle(periods=2)+l2_sp",
        "dtnh(l2_sp(alpha=0.7))",
        "joint_train",
    ],
)
def test_training_is_the_same_bit_for_bit(make, text):
    watched, alone = watching(text, make).train(), Loop(text, make).train()
    assert_equal(watched.weights(), alone.weights())
    for name, value in alone.methods.log.items():
        assert torch.equal(torch.as_tensor(watched.methods.log[name]), torch.as_tensor(value)), name
    assert bool(watched.methods.watch.figures) == any(m.penalises for m in _all(watched.methods.expression))


def _all(methods):
    for method in methods:
        yield method
        yield from _all(method.children)


@pytest.mark.parametrize("make", NETWORKS)
def test_the_task_gradient_is_that_with_edits_at_features(make):
    """∇J of PtR beside L2-SP is that of J + w·L_PtR, as DTNH has it."""
    text = "l2_sp(alpha=0.7, beta=5)"
    loop, task = watching(f"ptr(T=inf)+{text}", make), Loop("ptr(T=inf)", make)
    x, y = loop.batches[0]
    edited, whole = task.gradients(x, y), loop.gradients(x, y)
    found = loop.methods.watch.figures
    for name, wanted in literal(edited, add(whole, edited, -1.0)).items():
        assert found[name].item() == pytest.approx(wanted, abs=1e-5)
    bare = Loop("", make).gradients(x, y)
    assert abs(oracle.angle(bare, add(whole, edited, -1.0)) - found["angle"].item()) > 1e-3


def test_a_gradient_rule_reports_without_being_watched():
    loop = Loop("dtnh(l2_sp(alpha=0.7))").train(2)
    assert set(loop.methods.watch.figures) == set(ANGLES)
    for name, value in loop.methods.watch.figures.items():
        assert torch.equal(value, loop.methods.log[f"dtnh.{name}"])


def test_penalties_beside_a_rule_are_not_what_it_wraps():
    alone, both = Loop("dtnh(l2_sp(alpha=0.7))"), Loop("dtnh(l2_sp(alpha=0.7))+know_dist(0.3)")
    both.methods.watch.on = True
    both.train(1)
    alone.model.load_state_dict(both.weights())
    x, y = both.batches[0]
    assert differ(both.gradients(x, y), alone.gradients(x, y))
    for name, value in alone.methods.watch.figures.items():
        assert both.methods.watch.figures[name].item() == pytest.approx(value.item(), abs=1e-9)


@pytest.mark.parametrize("text", ["l2_sp", ""])
def test_nothing_is_measured_unasked_or_without_a_penalty(text):
    loop = Loop(text)
    loop.methods.watch.on = not text
    assert loop.train(2).methods.watch.figures == {}


def test_figures_of_one_loss_are_not_taken_for_the_next_ones():
    loop = watching("l2_sp", NETWORKS[0]).train(1)
    assert loop.methods.watch.figures
    loop.methods.watch.on = False
    loop.loss(*loop.batches[0])
    assert loop.methods.watch.figures == {}


def test_the_hosts_factor_does_not_matter():
    found = []
    for scale in (1.0, 1024.0):
        loop = watching("l2_sp(alpha=0.7)+know_dist(0.1)", NETWORKS[0]).train(1)
        loop.gradients(*loop.batches[1], scale=scale)
        found.append(loop.methods.watch.figures)
    for name, value in found[0].items():
        assert found[1][name].item() == pytest.approx(value.item(), abs=1e-5)


def test_generated_code_must_allow_for_a_second_pass():
    import torch._functorch.config as autograd

    with autograd.patch(donated_buffer=True):
        Loop("l2_sp").methods.watch.on = True
        assert not autograd.donated_buffer
