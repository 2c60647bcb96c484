"""Methods that act in phases do the same in every host: the head first, frozen layers, the end of training."""

import pytest
import torch

import holdfast
from hosts import tiny
from hosts.loops import CHECKPOINTS, HOSTS, Recipe, by_hand

TEXTS = [
    "lp_ft(probe=0.4)+dtnh(l2_sp(alpha=0.1))+ptr(R=3, T=5)",
    "freeze(until='embed')+l2_sp(alpha=0.1)+rifle(periods=4)",
    "lp_ft(probe=0.4)+wise_ft(factor=0.3)",
]


@pytest.mark.parametrize("case", [{}, {"accumulate": 2, "batch": 6}, {"bf16": True}, {"clip": 0.05}], ids=str)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("host", ["lightning", "hugging_face"])
def test_phases_give_bit_equal_weights(host, text, case):
    weights = HOSTS[host](Recipe(holdfast.compose(text), **case))
    wanted = by_hand(Recipe(holdfast.compose(text), loss_in_bf16=host != "hugging_face", **case))
    tiny.assert_same(weights, wanted)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("host", HOSTS)
def test_a_resumed_run_equals_the_uninterrupted_one(host, text, tmp_path):
    whole = HOSTS[host](Recipe(holdfast.compose(text), folder=tmp_path))
    resume = tmp_path / CHECKPOINTS[host]
    weights = HOSTS[host](Recipe(holdfast.compose(text), folder=tmp_path / "again", resume=resume))
    tiny.assert_same(weights, whole)


@pytest.mark.parametrize("host", HOSTS)
def test_the_body_stands_still_in_the_first_phase(host, tmp_path):
    """Its first checkpoint is taken within it."""
    HOSTS[host](Recipe(holdfast.compose("lp_ft(probe=0.4)"), folder=tmp_path))
    path = tmp_path / CHECKPOINTS[host]
    if host == "hugging_face":
        from safetensors.torch import load_file

        saved = load_file(path / "model.safetensors")
    else:
        whole = torch.load(path, weights_only=True)
        saved = whole["model"] if host == "hand" else {n[6:]: v for n, v in whole["state_dict"].items()}
    start = tiny.network().state_dict()
    assert {n for n, v in saved.items() if not torch.equal(v, start[n])} == {"classifier.weight", "classifier.bias"}
