"""Two processes that share each batch give the weights of one that has all of it, on each host."""

import pytest
import torch

from hosts import tiny, two
from hosts.loops import Recipe, by_hand, under_lightning

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Trainer will use only 1 of:UserWarning"),
]


@pytest.fixture(scope="module")
def alone():
    return by_hand(Recipe(tiny.five(), dtype=torch.float64))


@pytest.fixture(scope="module")
def weights_by_host():
    return two.together()


@pytest.mark.slow
@pytest.mark.parametrize("host", ["hand", "hugging_face"])
def test_two_processes_equal_one(host, weights_by_host, alone):
    first, second = weights_by_host[host]
    tiny.assert_same(first, second)
    tiny.assert_close(first, alone, 1e-9)


def test_two_processes_equal_one_under_lightning(alone):
    tiny.assert_close(under_lightning(two.recipe()), alone, 1e-9)
