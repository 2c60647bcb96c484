"""What a method sees of the other ranks; the other rank is simulated, the contract has real ones."""

import pytest
import torch

from holdfast.core import world


@pytest.fixture
def two_ranks(monkeypatch):
    """This process is rank 1 of two, and rank 0 holds the same numbers times ten."""

    def all_gather(parts, value):
        parts[0].copy_(10 * value)
        parts[1].copy_(value)

    monkeypatch.setattr(world, "size", lambda: 2)
    monkeypatch.setattr(world, "rank", lambda: 1)
    monkeypatch.setattr(world.dist, "all_gather", all_gather)


def test_one_rank_gathers_nothing():
    value = torch.ones(2, 3)
    assert world.gathered(value) is value


@pytest.mark.usefixtures("two_ranks")
def test_parts_are_joined_and_the_own_one_counts_for_all():
    value = torch.tensor([[1.0], [2.0]], requires_grad=True)
    joined = world.gathered(value)
    assert joined.tolist() == [[10], [20], [1], [2]]
    (g,) = torch.autograd.grad((joined * torch.tensor([[1.0], [2.0], [3.0], [4.0]])).sum(), value)
    assert g.tolist() == [[6], [8]]  # the mean over two ranks of the gradient makes it 3 and 4


@pytest.mark.usefixtures("two_ranks")
def test_labels_are_gathered_without_a_graph():
    assert world.gathered(torch.tensor([1, 2])).tolist() == [10, 20, 1, 2]
