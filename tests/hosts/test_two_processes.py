"""Two processes that share each batch give the weights of one that has all of it, on each host."""

import pytest
import torch

from hosts import tiny, two
from hosts.loops import Recipe, by_hand, under_lightning


@pytest.fixture(scope="module", autouse=True)
def _may_be_forked():
    if torch.cuda.is_initialized():
        pytest.skip("a process that has used CUDA cannot be forked: run this file alone")


@pytest.fixture(scope="module")
def alone():
    def with_whole_batches(parts):
        return by_hand(Recipe(tiny.five(), batch=tiny.BATCH // parts, accumulate=parts, dtype=torch.float64))

    return {parts: with_whole_batches(parts) for parts in two.PARTS}


@pytest.fixture(scope="module")
def together(_may_be_forked):
    return two.together()


@pytest.mark.parametrize("parts", two.PARTS)
@pytest.mark.parametrize("host", two.HOSTS)
def test_two_processes_equal_one(host, parts, together, alone):
    first, second = together[host, parts]
    tiny.assert_same(first, second)
    tiny.assert_close(first, alone[parts], 1e-9)


@pytest.mark.parametrize("parts", two.PARTS)
def test_two_processes_equal_one_under_lightning(parts, alone):
    tiny.assert_close(under_lightning(two.recipe(accumulate=parts)), alone[parts], 1e-9)


def test_the_comparison_would_see_a_local_projection(alone):
    half = by_hand(Recipe(tiny.five(), batch=tiny.BATCH // 2, accumulate=2, dtype=torch.float64))
    gap = max(float((half[name] - alone[1][name]).abs().max()) for name in half)
    assert gap > 1e-6, "norms and projections of halves are not those of the whole"
