"""JointTrain against its formula, limit cases, the oracle, and the data that it is given."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from holdfast.core.streams import Reader
from methods import contract, ranks
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop, SourceData, assert_close, differ, source_head
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import dtnh
from reference import joint_train as oracle
from reference.networks import HEAD, conv_net, token_net


@contract.every_check
def test_contract(check):
    check(holdfast.JointTrain(lam=0.7))


def batches(steps=8, size=8):
    """What the stream of a run hands out, batch by batch."""
    reader = Reader(holdfast.Stream(SourceData()), 0, "source")
    return [reader.take(size) for _ in range(steps)]


def second_head(make):
    """The oracle's extra module, at the body's rate."""
    return {"extra": {oracle.KEY: source_head(make)}}


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("lam", [1.0, 0.3])
def test_trajectory_is_the_oracles(make, lam):
    source = batches()
    known = {"penalty": oracle.penalty(lambda t: source[t], lam), **second_head(make)}
    loop = follow(f"joint_train(lam={lam})", make, known)
    assert differ(loop.added(), Loop("joint_train", make).added()), "the second head stood still"


@pytest.mark.parametrize("make", NETWORKS)
def test_inside_dtnh_it_is_the_oracles(make):
    source = batches()
    known = {"rule": dtnh.rule(oracle.penalty(lambda t: source[t], 1.0)), **second_head(make)}
    follow("dtnh(joint_train)", make, known)


def test_closed_form_on_two_numbers():
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)).double()
    old = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        net[1].weight.fill_(3.0)
        old.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    methods = holdfast.compose("joint_train(lam=0.5)")
    data = [(torch.ones(1, dtype=torch.float64), 0)]
    methods.prepare(net, "2", source_head=old, streams={"source": holdfast.Stream(data)})
    loss = methods.loss(net(torch.ones(1, 1).double()).sum() * 0)
    # logits 3 and -3: J_source = log(1 + e⁻⁶), by the body's weight -2 / (1 + e⁶)
    assert loss.item() == pytest.approx(0.5 * math.log1p(math.exp(-6)), rel=1e-12)
    loss.backward()
    assert net[1].weight.grad.item() == pytest.approx(-0.5 * 2 / (1 + math.exp(6)), rel=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
def test_the_same_data_and_head_double_the_task(make):
    """Limit: with the target's own samples and the target's own head as source, the body's gradient is 2∇J."""
    loop = Loop("", make)
    x, y = loop.batches[0]
    model = make()
    twice = holdfast.compose("joint_train")
    data = list(zip(x, y, strict=True))
    twice.prepare(model, HEAD, source_head=model.get_submodule(HEAD), streams={"source": holdfast.Stream(data)})
    twice.loss(F.cross_entropy(model(x), y)).backward()
    body = {name: p.grad for name, p in model.named_parameters() if not name.startswith(HEAD)}
    once = loop.gradients(x, y)
    assert_close(body, {name: 2 * once[name] for name in body}, rtol=1e-12)


def test_batch_norm_sees_one_domain_at_a_time():
    loop, plain = Loop("joint_train", conv_net), Loop("", conv_net)
    x, y = loop.batches[0]
    loop.loss(x, y)
    plain.loss(x, y)
    plain.model(batches(1)[0][0])
    for name, value in plain.model.named_buffers():
        assert torch.equal(value, loop.model.get_buffer(name)), name


def test_what_others_record_and_edit_is_the_targets_alone():
    """PtR beside it balances the target's gradient and moves nothing on the source's way back."""
    both, ptr = Loop("joint_train+ptr(T=inf)", token_net), Loop("ptr(T=inf)", token_net)
    x, y = both.batches[0]
    g_both, g_ptr = both.gradients(x, y), ptr.gradients(x, y)
    alone = Loop("joint_train", token_net).gradients(x, y)
    plain = Loop("", token_net).gradients(x, y)
    assert_close(g_both, {name: g_ptr[name] + alone[name] - plain[name] for name in plain}, rtol=1e-12)
    assert both.methods.log["ptr.w"] == ptr.methods.log["ptr.w"]


def test_without_dropout_on_the_source_head():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))
    data = [(torch.full((4,), float(i)), i) for i in range(3)]
    methods = holdfast.compose("joint_train")
    methods.prepare(net, source_head=nn.Linear(6, 3), streams={"source": holdfast.Stream(data)})
    losses = []
    saved = methods.state_dict()
    for seed in range(2):
        torch.manual_seed(seed)
        methods.load_state_dict(saved)
        methods.loss(net(torch.ones(3, 4)).sum())
        losses.append(methods.log["joint_train.source_loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
@pytest.mark.parametrize("micro", [1, 2])
def test_two_ranks_with_micro_batches_are_one_whole(make, micro):
    method = holdfast.JointTrain()
    alone = Loop(method, make).train(4).weights()
    for weights in ranks.train_on_two(method, make, steps=4, micro=micro):
        assert_close(weights, alone, rtol=1e-9)


def test_at_zero_strength_nothing_is_read():
    class Unread(SourceData):
        def __getitem__(self, i):
            raise AssertionError

    Loop("joint_train(lam=0)", streams={"source": holdfast.Stream(Unread())}).train(1)


def test_missing_data_are_asked_for():
    with pytest.raises(UsageError, match=r"joint_train.*'source', found none.*streams=.*--source FOLDER"):
        Loop("joint_train", streams={})


def test_a_loader_in_place_of_a_stream_is_refused():
    with pytest.raises(UsageError, match=r"found 'source': DataLoader: pass prepare\(model, streams="):
        Loop("joint_train", streams={"source": torch.utils.data.DataLoader(SourceData())})


def test_another_number_of_classes_is_refused_by_count():
    data = SourceData()
    data.classes = list("abc")
    with pytest.raises(UsageError, match="source head has 7 classes, the source data 3"):
        Loop("joint_train", streams={"source": holdfast.Stream(data)})


def test_a_label_beyond_the_source_head_is_refused():
    loop = Loop("joint_train", streams={"source": holdfast.Stream(SourceData(classes=40))})
    with pytest.raises(UsageError, match=r"have label \d+, the source head has 7 classes"):
        loop.train(1)


def test_golden_trajectory():
    follows_golden("joint_train(lam=0.7)")
