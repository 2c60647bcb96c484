"""The same methods give the same weights, bit for bit, whoever runs the loop."""

import pytest

from hosts import tiny
from hosts.loops import HOSTS, Recipe, by_hand

CASES = {
    "plain_loop": {},
    "accumulated": {"batch": 3, "accumulate": 4},
    "accumulated_by_three": {"batch": 4, "accumulate": 3},
    "clipped": {"clip": 0.05},
    "accumulated_and_clipped": {"batch": 6, "accumulate": 2, "clip": 0.05},
    "bf16": {"bf16": True},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("host", ["lightning", "hugging_face"])
def test_five_methods_give_bit_equal_weights(host, case):
    weights = HOSTS[host](Recipe(tiny.five(), **CASES[case]))
    # Hugging Face's autocast covers the network's forward, Lightning's the whole training step
    tiny.assert_same(weights, by_hand(Recipe(tiny.five(), loss_in_bf16=host != "hugging_face", **CASES[case])))
