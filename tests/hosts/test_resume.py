"""A run that stops after its first epoch and is resumed ends where the uninterrupted one does, on each host."""

import pytest
import torch

import holdfast
from holdfast.core.errors import StartingPointError, UsageError
from hosts import tiny
from hosts.loops import CHECKPOINTS, HOSTS, Recipe


@pytest.mark.parametrize("host", HOSTS)
def test_resumed_run_equals_the_uninterrupted_one(host, tmp_path):
    whole = HOSTS[host](Recipe(tiny.five(), folder=tmp_path))
    resumed = tiny.five()
    weights = HOSTS[host](Recipe(resumed, folder=tmp_path / "again", resume=tmp_path / CHECKPOINTS[host]))
    tiny.assert_same(weights, whole)
    assert resumed.clock.step == tiny.STEPS


@pytest.mark.parametrize("host", HOSTS)
def test_resuming_with_other_methods_is_refused(host, tmp_path):
    HOSTS[host](Recipe(tiny.five(), folder=tmp_path))
    with pytest.raises(UsageError, match="use the same methods"):
        HOSTS[host](
            Recipe(holdfast.compose(tiny.ADDITIVE), folder=tmp_path / "again", resume=tmp_path / CHECKPOINTS[host])
        )


def test_a_hugging_face_checkpoint_without_our_state_is_refused(tmp_path):
    HOSTS["hugging_face"](Recipe(tiny.five(), folder=tmp_path))
    checkpoint = tmp_path / CHECKPOINTS["hugging_face"]
    (checkpoint / "holdfast.pt").unlink()
    with pytest.raises(StartingPointError, match=r"no holdfast\.pt"):
        HOSTS["hugging_face"](Recipe(tiny.five(), resume=checkpoint))


def test_state_in_a_checkpoint_is_the_starting_point_not_the_weights(tmp_path):
    HOSTS["hand"](Recipe(tiny.five(), folder=tmp_path))
    saved = torch.load(tmp_path / "hand.pt", weights_only=True)
    start = tiny.network().state_dict()
    assert saved["methods"]["start"]
    for name, kept in saved["methods"]["start"].items():
        assert torch.equal(kept, start[name])
        assert not torch.equal(kept, saved["model"][name])
