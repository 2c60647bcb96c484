"""A compiled network trains to the eager one's weights on each host."""

import pytest
import torch

from hosts import tiny
from hosts.loops import HOSTS, Recipe, by_hand

pytestmark = [
    # dynamo raises this warning itself and hides it, which a filter that makes errors of warnings prevents
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


@pytest.mark.parametrize("host", HOSTS)
def test_compiled_equals_eager(host):
    torch._dynamo.reset()
    methods = tiny.five()
    weights = HOSTS[host](Recipe(methods, compiled=True, dtype=torch.float64))
    tiny.assert_close(weights, by_hand(Recipe(tiny.five(), dtype=torch.float64)), 1e-9)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "nothing was compiled"
    assert methods.log["ptr.active"] == 1
