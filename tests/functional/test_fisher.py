"""The Fisher information against the oracle: batched, one by one, in chunks of every size, for every kind."""

import pytest
import torch

from holdfast.functional.fisher import chosen_labels, drawn_classes, squared_scores, squared_scores_singly
from methods.loop import NETWORKS, image_batches
from reference import fisher as oracle


def parts(make):
    model = make().eval()
    params = {name: p.detach() for name, p in model.named_parameters()}
    (x, _), *_ = image_batches(1, 5)

    def log_f(w, inputs):
        return torch.func.functional_call(model, dict(w), (inputs,)).log_softmax(-1)

    return model, params, x, log_f


def agree(found, wanted, count):
    for name in wanted:
        torch.testing.assert_close(found[name] / count, wanted[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("room", [1, 500, 5000, 1 << 26])
def test_exact_is_the_oracles_whatever_fits_at_a_time(make, room):
    model, params, x, log_f = parts(make)
    classes, weights = chosen_labels(log_f(params, x), "exact", 1, [])
    agree(squared_scores(log_f, params, x, classes, weights, room), oracle.exact(model, x), len(x))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_topk_is_the_oracles(make, k):
    model, params, x, log_f = parts(make)
    classes, weights = chosen_labels(log_f(params, x), "topk", k, [])
    assert classes.shape[1] == min(k, 4)
    agree(squared_scores(log_f, params, x, classes, weights), oracle.topk(model, x, k), len(x))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("draws", [1, 3])
def test_monte_carlo_is_the_oracles_for_the_labels_drawn(make, draws):
    model, params, x, log_f = parts(make)
    generators = [torch.Generator().manual_seed(i) for i in range(len(x))]
    classes, weights = chosen_labels(log_f(params, x), "monte_carlo", draws, generators)
    agree(squared_scores(log_f, params, x, classes, weights), oracle.monte_carlo(model, x, classes.tolist()), len(x))


@pytest.mark.parametrize("make", NETWORKS)
def test_one_by_one_is_the_same(make):
    _, params, x, log_f = parts(make)
    classes, weights = chosen_labels(log_f(params, x), "exact", 1, [])
    found = squared_scores_singly(log_f, params, x, classes, weights)
    agree(found, squared_scores(log_f, params, x, classes, weights), 1)


@pytest.mark.parametrize("make", NETWORKS)
def test_it_is_not_the_square_of_a_batchs_mean(make):
    """A public port squares the batch's gradient: it differs, and the oracle is on our side."""
    model, params, x, log_f = parts(make)
    classes, weights = chosen_labels(log_f(params, x), "topk", 1, [])
    found = squared_scores(log_f, params, x, classes, weights)
    leaves = {name: p.clone().requires_grad_(True) for name, p in params.items()}
    mean = log_f(leaves, x).gather(1, classes).mean()
    batch = dict(zip(leaves, torch.autograd.grad(mean, list(leaves.values())), strict=True))
    head = "head.weight"
    assert not torch.allclose(found[head] / len(x), batch[head] ** 2, rtol=0.1)
    agree(found, oracle.topk(model, x, 1), len(x))


def test_labels_are_drawn_from_the_probabilities():
    log_f = torch.tensor([[0.7, 0.2, 0.1]]).log().expand(400, 3)
    generators = [torch.Generator().manual_seed(i) for i in range(400)]
    classes, weights = chosen_labels(log_f, "monte_carlo", 5, generators)
    shares = torch.bincount(classes.flatten(), minlength=3) / classes.numel()
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.03, rtol=0)
    assert bool((weights == 0.2).all())
    again, _ = chosen_labels(log_f[:7], "monte_carlo", 5, [torch.Generator().manual_seed(i) for i in range(7)])
    assert torch.equal(again, classes[:7])


def test_a_class_is_the_first_whose_share_reaches_beyond_the_number():
    f = torch.tensor([[0.0, 0.5, 0.0, 0.25, 0.25]])
    (seen,) = drawn_classes(f, 2000, [torch.Generator().manual_seed(0)])
    u = torch.rand(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = [1 if one < 0.5 else 3 if one < 0.75 else 4 for one in u.tolist()]
    assert seen.tolist() == wanted
    assert set(wanted) == {1, 3, 4}  # what has no share is never drawn


def test_probabilities_that_do_not_quite_add_up_are_taken_as_shares():
    f = torch.tensor([[0.3, 0.3, 0.3]])
    (seen,) = drawn_classes(f, 6000, [torch.Generator().manual_seed(1)])
    torch.testing.assert_close(torch.bincount(seen) / 6000, torch.full((3,), 1 / 3), atol=0.03, rtol=0)
