"""Summing the Fisher information: batched or one by one, in any portions, as the oracle."""

import pytest
import torch
from torch import nn

from holdfast.core import fisher
from holdfast.core.errors import UsageError
from holdfast.core.fisher import FisherSum
from methods.informed import drawn_labels, inputs, oracles_fisher, source_network
from methods.loop import NETWORKS, conv_net
from reference import fisher as oracle


def names_of(model):
    return [name for name, _ in model.named_parameters() if not name.startswith("head")]


def agree(found, wanted):
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(("kind", "labels"), [("exact", 1), ("topk", 3), ("monte_carlo", 2)])
def test_portions_make_no_difference(make, batched, kind, labels):
    model = source_network(make)
    total = FisherSum(model, names_of(model), kind, labels, 0, "fisher")
    total._batched = batched
    for x in inputs().split([5, 1, 18]):
        total.add(x)
    assert total._batched == batched
    assert total.count == 24
    agree(total.mean(), oracles_fisher(make, kind, labels))


@pytest.mark.parametrize("make", NETWORKS)
def test_going_on_from_sums_is_the_same_to_the_last_bit(make):
    whole, first, second = (FisherSum(m := source_network(make), names_of(m), "monte_carlo", 1, 7) for _ in range(3))
    for x in inputs().split(8):
        whole.add(x)
    first.add(inputs()[:8])
    second.sums, second.count = first.sums, first.count
    for x in inputs()[8:].split(8):
        second.add(x)
    assert all(torch.equal(whole.mean()[name], F) for name, F in second.mean().items())


def test_an_operator_that_cannot_be_batched_is_done_one_by_one():
    class Counted(nn.Module):
        def forward(self, x):
            return x * (1 if x.detach().sum().item() > 1e9 else 2)  # a look at a value

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), Counted()).double()
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = FisherSum(model, ["1.weight"], "exact", 1)
    total._batched = True
    total.add(x)
    assert not total._batched
    agree(total.mean(), oracle.exact(model.requires_grad_(True), x))


def test_the_network_is_in_evaluation_mode_and_keeps_no_gradient():
    model = source_network(conv_net)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    total = FisherSum(model, names_of(model), "exact", 1)
    total.add(inputs())
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert not any(F.requires_grad for F in total.sums.values())
    assert all(p.grad is None for p in model.parameters())


def test_answers_that_are_not_finite_are_refused():
    model = source_network(conv_net)
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(UsageError, match="answers are not finite"):
        FisherSum(model, names_of(model), "exact", 1).add(inputs())


def test_logits_in_a_mapping_are_found():
    assert fisher.logits({"logits": (z := torch.zeros(1, 2)), "loss": None}) is z


def test_labels_are_drawn_by_number_and_seed():
    model = source_network(conv_net)
    one, other = (drawn_labels(model, inputs(), 3) for _ in range(2))
    assert one == other
    assert len({tuple(row) for row in one}) > 1
