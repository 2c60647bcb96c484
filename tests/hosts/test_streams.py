"""Source data and a second head on each host: the same weights bit for bit, and after a resume."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import holdfast
from hosts import tiny
from hosts.loops import CHECKPOINTS, HOSTS, Recipe, by_hand

CLASSES = 5
TEXT = "joint_train(lam=0.5)+dtnh(l2_sp(alpha=0.1))"


class Source(Dataset):
    """Noise, drawn from the global generator, about a level that tells the class."""

    def __len__(self):
        return 11

    def __getitem__(self, i):
        return torch.randn(3, tiny.SIDE, tiny.SIDE) + i % CLASSES, i % CLASSES


def recipe(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        head = nn.Linear(12, CLASSES)
    more = {"source_head": head, "streams": {"source": holdfast.Stream(Source())}}
    return Recipe(holdfast.compose(TEXT), more=more, **options)


@pytest.mark.parametrize("options", [{}, {"batch": 4, "accumulate": 3}], ids=["whole", "accumulated"])
@pytest.mark.parametrize("host", ["lightning", "hugging_face"])
def test_hosts_agree_with_the_hand_written_loop(host, options):
    by = by_hand(recipe(**options))
    tiny.assert_same(HOSTS[host](recipe(**options)), by)
    tiny.assert_differ(by, by_hand(Recipe(holdfast.compose("dtnh(l2_sp(alpha=0.1))"), **options)))


@pytest.mark.parametrize("host", HOSTS)
def test_a_resumed_run_goes_on_with_the_next_sample(host, tmp_path):
    whole = HOSTS[host](recipe(folder=tmp_path, batch=4, accumulate=3))
    resumed = recipe(folder=tmp_path / "again", resume=tmp_path / CHECKPOINTS[host], batch=4, accumulate=3)
    tiny.assert_same(HOSTS[host](resumed), whole)


@pytest.mark.parametrize("host", ["hand", "lightning", "hugging_face"])
def test_bfloat16_reaches_the_second_head(host):
    weights = HOSTS[host](recipe(bf16=True))
    assert all(value.isfinite().all() for value in weights.values())
