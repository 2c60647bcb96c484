"""Streams: samples that depend on the seed and on how many came before, whoever loads them, on any number of ranks."""

import pytest
import torch
from torch.utils.data import Dataset

import holdfast
from holdfast.core import world
from holdfast.core.errors import UsageError
from holdfast.core.streams import Reader
from methods.loop import NETWORKS, Loop, SourceData, assert_equal

METHOD = "joint_train(lam=0.7)"


class Numbered(Dataset):
    """Positions as labels, and a draw from the global generator as input."""

    def __init__(self, count=10):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        return torch.rand(2), i, "more that is not read"


def reader(count=10, seed=0, name="source", **options):
    return Reader(holdfast.Stream(Numbered(count), **options), seed, name)


def test_a_pass_shows_every_sample_once_and_each_pass_has_its_order():
    r = reader()
    passes = [r.take(10)[1].tolist() for _ in range(3)]
    assert all(sorted(labels) == list(range(10)) for labels in passes)
    assert passes[0] != passes[1] != passes[2]


def test_how_the_samples_are_cut_makes_no_difference():
    whole, parts = reader(), reader()
    x, y = whole.take(24)
    pieces = [parts.take(n) for n in (1, 7, 16)]
    assert torch.equal(torch.cat([p[1] for p in pieces]), y)
    assert torch.equal(torch.cat([p[0] for p in pieces]), x)


def test_another_seed_or_name_is_another_order():
    labels = [r.take(10)[1].tolist() for r in (reader(), reader(seed=1), reader(name="other"))]
    assert labels[0] not in labels[1:]
    assert labels[1] != labels[2]


def test_draws_are_new_for_each_look_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    r = reader(count=1)
    x = r.take(50)[0]
    assert torch.equal(torch.get_rng_state(), before)
    assert len(x.unique(dim=0)) == 50
    torch.manual_seed(4)
    assert torch.equal(reader(count=1).take(50)[0], x)


def test_loading_processes_change_nothing():
    alone, two = reader().take(30), reader(workers=2).take(30)
    assert torch.equal(alone[0], two[0])
    assert torch.equal(alone[1], two[1])


def test_a_reader_goes_on_where_it_was_saved():
    r = reader()
    r.take(7)
    r.choose(torch.tensor([1, 4, 5]))
    r.take(2)
    saved = r.state_dict()
    rest = r.take(11)
    again = reader()
    again.take(3)
    again.load_state_dict(saved)
    assert all(torch.equal(a, b) for a, b in zip(again.take(11), rest, strict=True))


def test_a_choice_is_all_that_is_read_from_then_on():
    r = reader()
    r.take(4)
    r.choose(torch.tensor([2, 3, 9]))
    first = r.take(6)[1].tolist()
    assert sorted(first) == [2, 2, 3, 3, 9, 9]
    with pytest.raises(UsageError, match="at least one"):
        r.choose(torch.tensor([], dtype=torch.int64))


def test_ranks_share_one_sequence(monkeypatch):
    x, y = reader().take(16)
    monkeypatch.setattr(world, "size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(world, "rank", lambda rank=rank: rank)
        mine = reader().take(8)
        assert torch.equal(mine[1], y[rank::2])
        assert torch.equal(mine[0], x[rank::2])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("stop", [2, 3])
def test_a_run_resumed_under_accumulation_sees_the_same_samples(make, stop):
    def steps(loop, count):
        for _ in range(count):
            x, y = loop.batches[loop.t % 3]
            loop.step(*zip(x.split(2), y.split(2), strict=True))
        return loop

    whole = steps(Loop(METHOD, make), stop)
    file = whole.save()
    steps(whole, 4)
    resumed = steps(Loop.resumed(file, METHOD, make, weights_first=True), 4)
    assert_equal(resumed.weights(), whole.weights())
    assert_equal(resumed.added(), whole.added())


def test_what_is_no_data_set_is_refused():
    with pytest.raises(UsageError, match="length and positions, got a generator"):
        holdfast.Stream(i for i in range(3))
    with pytest.raises(UsageError, match="got 0 and 0"):
        holdfast.Stream(Numbered(0))
    with pytest.raises(UsageError, match="the same ones: got 3 and 4"):
        holdfast.Stream(Numbered(3), still=Numbered(4))
    with pytest.raises(UsageError, match="needs key="):
        holdfast.Stream(Numbered(3), folder="somewhere")


def test_a_stream_of_another_name_does_not_stand_in():
    with pytest.raises(UsageError, match=r"needs the stream 'source', found 'sources': Stream"):
        Loop(METHOD, streams={"sources": holdfast.Stream(SourceData())})
