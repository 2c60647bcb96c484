"""BTfW against the oracle's choice and trajectory, its rounds, its index on disk, and limit cases."""

import pytest
import torch
import torch.nn.functional as F

import holdfast
from holdfast.core.described import Bank, Described
from holdfast.core.errors import DataError, UsageError
from holdfast.core.streams import Reader, Stream
from methods import contract, ranks
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop, SourceData, assert_close, assert_equal, source_head
from methods.oracles import batches, follow
from methods.trajectories import follows_golden
from reference import btfw as oracle
from reference import joint_train
from reference.networks import conv_net, token_net

TEXT = "btfw(k=1, bins=8)"


@contract.every_check
@pytest.mark.parametrize("text", [TEXT, "btfw"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


class Still(SourceData):
    """The same images without noise."""

    def __getitem__(self, i):
        return self.x[i].to(self.dtype), self.y[i]


def stream(**options):
    return {"source": Stream(SourceData(), still=Still(), **options)}


def responses(images, make, filters):
    """What the oracle describes: each filter's maps, from the definition of a correlation with zeros at the borders."""
    found = []
    if filters in ("gabor", "both"):
        from holdfast.functional.histograms import gabor_bank

        found.append(F.conv2d(images.mean(1, keepdim=True), gabor_bank(), stride=2, padding=15))
    if filters in ("conv1", "both"):
        found.append(F.conv2d(images, make().stage1[0].weight.detach(), padding=1))
    return found


def described(images, source, make, filters, bins):
    """The oracle's descriptions and the filters' weights; edges are the extremes over the source."""
    edges = [
        e
        for maps in responses(source, make, filters)
        for e in zip(maps.amin((0, 2, 3)), maps.amax((0, 2, 3)), strict=True)
    ]
    banks, first, out = responses(images, make, filters), 0, [[] for _ in images]
    weights = []
    for maps in banks:
        here = [(low.item(), high.item()) for low, high in edges[first : first + maps.shape[1]]]
        for image, into in zip(maps, out, strict=True):
            into += oracle.describe(image, here, bins)
        weights += [1 / maps.shape[1]] * maps.shape[1]
        first += maps.shape[1]
    return out, weights


def choice(make, filters, ks, bins=8):
    """The oracle's union for the loop's batches."""
    target, source = torch.cat([x for x, _ in batches()]), Still().x
    (near, weights), (far, _) = (described(images, source, make, filters, bins) for images in (target, source))
    chosen = set()
    for one, k in zip(near, ks, strict=True):
        distances = [oracle.divergence(one, other, weights) for other in far]
        chosen |= set(sorted(range(len(far)), key=lambda j: (distances[j], j))[:k])
    return sorted(chosen)


@pytest.mark.parametrize(
    ("make", "filters"), [(conv_net, "gabor"), (conv_net, "conv1"), (conv_net, "both"), (token_net, "gabor")]
)
def test_choice_is_the_oracles(make, filters):
    for k in (1, 2):
        loop = Loop(f"btfw(k={k}, bins=8, filters='{filters}')", make, streams=stream())
        wanted = choice(make, filters, [k] * 24)
        assert loop.methods._members[0].state.source.chosen.tolist() == wanted
        assert 0 < len(wanted) < 20


@pytest.mark.parametrize("make", NETWORKS)
def test_trajectory_is_the_oracles(make):
    reader = Reader(stream()["source"], 0, "source")
    reader.choose(torch.tensor(choice(make, "gabor", [1] * 24)))
    source = [reader.take(8) for _ in range(8)]
    known = {
        "penalty": joint_train.penalty(lambda t: source[t], 0.4),
        "extra": {joint_train.KEY: source_head(make)},
    }
    follow("btfw(lam=0.4, k=1, bins=8)", make, known, streams=stream())


@pytest.mark.parametrize("make", NETWORKS)
def test_all_source_images_chosen_is_joint_training(make):
    all_of_them, joint = Loop("btfw(k=20)", make), Loop("joint_train", make)
    joint.methods._members[0].state.source.choose(torch.arange(20))
    assert_equal(all_of_them.train().weights(), joint.train().weights())


# -- rounds ----------------------------------------------------------------------------------------------
ROUNDS = "btfw(k=1, bins=8, every=2, sigma0=3, sigma1=1, delta=1.3)"


class Indexed(Loop):
    """A loop whose batches say which images they hold."""

    def __init__(self, *args, **options):
        super().__init__(*args, **{"resumes": True, "streams": stream()} | options)
        self.batches = [(x, y, torch.arange(8) + 8 * i) for i, (x, y) in enumerate(self.batches)]
        if not options.get("resumes"):
            self.methods.calibrate(self.batches)
        self.seen = {}

    def loss(self, x, y, index):
        x, y = self.methods.on_batch(x, y, index)
        logits = self.network(x)
        self.seen |= {int(i): p for i, p in zip(index, logits.detach().softmax(1), strict=True)}
        return self.methods.loss(F.cross_entropy(logits, y))


@pytest.mark.parametrize("make", NETWORKS)
def test_rounds_are_the_oracles(make):
    loop = Indexed(ROUNDS, make)
    state, ks = loop.methods._members[0].state, [1] * 24
    y = torch.cat([y for _, y, _ in loop.batches])
    grew = set()
    for round_ in range(3):
        assert state.source.chosen.tolist() == choice(make, "gabor", ks)
        loop.train(6)  # two epochs of three steps
        after = oracle.next_round(ks, torch.stack([loop.seen[i] for i in range(24)]), y, 1.3, 3, 1)
        grew |= {b - a for a, b in zip(ks, after, strict=True)}
        assert state.ks.tolist() == after, f"after round {round_ + 1}"
        ks = after
    assert grew == {0, 1, 3}, "not every case was met"
    assert state.source.round == 4


@pytest.mark.parametrize("stop", [4, 6, 8])
def test_rounds_go_on_after_a_resume(stop):
    whole = Indexed(ROUNDS, token_net).train(stop)
    file = whole.save()
    whole.train(14 - stop)
    resumed = Indexed.resumed(file, ROUNDS, token_net, weights_first=True).train(14 - stop)
    assert_equal(resumed.weights(), whole.weights())
    assert torch.equal(resumed.methods._members[0].state.source.chosen, whole.methods._members[0].state.source.chosen)


def test_images_that_the_pass_of_calibrate_left_out_have_no_k():
    """A shuffling loader that drops its last batch may leave out the last image."""
    loop = Indexed(ROUNDS, resumes=True)
    loop.methods.calibrate(loop.batches[:2])
    state = loop.train(6).methods._members[0].state
    assert state.ks.shape == (16,)
    assert state.ks.max() > 1


def test_rounds_ask_for_positions():
    with pytest.raises(UsageError, match=r"give \(inputs, targets, indices\)"):
        Loop(ROUNDS)
    loop = Indexed(ROUNDS)
    x, y, _ = loop.batches[0]
    with pytest.raises(UsageError, match=r"on_batch\(x, y, index\)"):
        loop.methods.loss(F.cross_entropy(loop.network(loop.methods.on_batch(x, y)[0]), y))


def test_the_rounds_need_the_length_of_an_epoch():
    with pytest.raises(UsageError, match="steps_per_epoch"):
        Loop(ROUNDS, steps_per_epoch=None)


def test_nothing_chosen_is_said():
    with pytest.raises(UsageError, match=r"call methods\.calibrate"):
        Loop(TEXT, resumes=True).train(1)


def test_networks_without_a_convolution_need_gabor_filters():
    with pytest.raises(UsageError, match="take 'gabor'"):
        Loop("btfw(filters='conv1')", token_net)


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
def test_two_ranks_with_micro_batches_are_one_whole(make):
    method = holdfast.compose(TEXT).expression.methods[0]
    alone = Loop(method, make).train(4).weights()
    for weights in ranks.train_on_two(method, make, steps=4, micro=2):
        assert_close(weights, alone, rtol=1e-9)


# -- the index on disk -----------------------------------------------------------------------------------
class Counted(Still):
    """Counts its looks; may fail."""

    looks, fails_at = 0, None

    def __getitem__(self, i):
        type(self).looks += 1
        if i == self.fails_at:
            raise InterruptedError
        return super().__getitem__(i)


@pytest.fixture
def counted(monkeypatch, tmp_path):
    monkeypatch.setattr("holdfast.core.described.BLOCK", 6)
    monkeypatch.setattr(Counted, "looks", 0)
    done = []
    data = Counted()
    told = Stream(data, folder=tmp_path, key="abc", progress=lambda *at: done.append(at))
    return data, told, done


def of(stream_, bins=8):
    from holdfast.functional.histograms import gabor_bank

    return Described(stream_, lambda: [Bank(gabor_bank(), 2, 15)], bins)


def test_an_index_is_made_once_and_tells_how_far_it_is(counted, tmp_path):
    _, told, done = counted
    first = of(told).counts(torch.device("cpu"))
    assert first.shape == (20, 48, 8)
    assert (first.sum(-1) == 9).all()
    assert done[-1] == (20, 20)
    looks = Counted.looks
    assert looks == 40  # once for the edges
    assert torch.equal(of(told).counts(torch.device("cpu")), first)
    assert Counted.looks == looks
    of(told, bins=9).counts(torch.device("cpu"))
    assert Counted.looks == 2 * looks  # other histograms are other files
    assert len(list(tmp_path.glob("histograms-*"))) == 2


def test_an_interrupted_index_goes_on_with_the_next_block(counted, tmp_path):
    data, told, _ = counted
    index = of(told)
    index.edges(torch.device("cpu"))
    data.fails_at = 14
    with pytest.raises(InterruptedError):
        index.counts(torch.device("cpu"))
    assert len(list(tmp_path.glob("histograms-*/0*.pt"))) == 2
    data.fails_at, Counted.looks = None, 0
    found = of(told).counts(torch.device("cpu"))
    assert Counted.looks == 20 - 12
    assert torch.equal(found, of(Stream(Still())).counts(torch.device("cpu")))


def test_a_damaged_index_is_said(counted, tmp_path):
    _, told, _ = counted
    of(told).counts(torch.device("cpu"))
    next(tmp_path.glob("histograms-*/00000006.pt")).write_bytes(b"no")
    with pytest.raises(DataError, match=r"00000006\.pt is damaged.*made anew"):
        of(told).counts(torch.device("cpu"))


def test_at_zero_strength_nothing_is_described():
    class Unread(SourceData):
        def __getitem__(self, i):
            raise AssertionError

    Loop("btfw(lam=0)", streams={"source": Stream(Unread())}).train(1)


def test_golden_trajectory():
    follows_golden("btfw(k=1, bins=8)")
