"""LwF against its formula and the oracle, its ports, its recorded answers, and the head that it keeps."""

import pytest
import torch
import torch.nn.functional as F

import holdfast
from holdfast.core.errors import UsageError
from holdfast.core.types import Batch
from methods import contract, ranks
from methods.loop import NETWORKS, Loop, assert_close, assert_equal, conv_net, token_net
from methods.oracles import OPTIONS, batches, follow
from methods.trajectories import follows_golden
from reference import dtnh as dtnh_oracle
from reference import lp_ft as lp_ft_oracle
from reference import lwf as oracle
from reference.networks import HEAD, source_head
from reference.training import run_forward


@contract.every_check
@pytest.mark.parametrize("text", ["lwf", "lwf(lam=0.5, T=3, warmup=0, squared_T=false)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def added(make):
    return {"extra": {"source_head": source_head(make)}}


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("lwf(warmup=0)", {}),
        ("lwf(lam=0.3, T=5, warmup=0)", {"lam": 0.3, "T": 5.0}),
        ("lwf@avalanche", {"squared_T": False}),
    ],
)
def test_trajectory_is_the_oracles(make, text, options):
    follow(text, make, {"penalty": oracle.penalty(source_head(make), **options), **added(make)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("share", "steps"), [(0.1, 1), (0.5, 4)])
def test_warm_up_is_the_oracles(make, share, steps):
    options = {"penalty": oracle.penalty(source_head(make)), **added(make), **OPTIONS}
    follow(
        f"lwf(warmup={share})", make, lp_ft_oracle.lp_ft(make(), HEAD, batches(), probe_steps=steps, steps=8, **options)
    )


@pytest.mark.parametrize("make", NETWORKS)
def test_inside_dtnh_is_the_oracles(make):
    rule = dtnh_oracle.rule(oracle.penalty(source_head(make), 2.0), lam=0.7)
    loop = follow("dtnh(lwf(lam=2, warmup=0), lam=0.7)", make, {"rule": rule, **added(make)})
    assert "dtnh.conflict" in loop.methods.log


@pytest.mark.parametrize("make", NETWORKS)
def test_value_and_gradient_on_one_batch(make):
    """Ω is in the loss, and its gradient at the logits is λT(ŷ' − y')/B."""
    loop = Loop("lwf(lam=0.5, T=3, warmup=0)", make)
    x, y = loop.batches[0]
    with torch.no_grad():
        z0 = source_head(make)(run_forward(make().eval(), HEAD, x).rep)
    forward = run_forward(make(), HEAD, x)
    z = source_head(make)(forward.rep)
    omega = 0.5 * oracle.distillation(z, z0, T=3.0)
    J = F.cross_entropy(forward.logits, y)
    assert loop.loss(x, y).item() == pytest.approx((J + omega).item(), rel=1e-12)
    assert loop.methods.log["lwf.penalty"].item() == pytest.approx(omega.item(), rel=1e-12)
    (g,) = torch.autograd.grad(omega, z)
    torch.testing.assert_close(g, 0.5 * 3 * (torch.softmax(z / 3, 1) - torch.softmax(z0 / 3, 1)).detach() / len(x))


def kept_head(loop):
    return loop.methods._members[0].state.source_head


@pytest.mark.parametrize("make", NETWORKS)
def test_it_pulls_from_the_first_step_that_could_forget(make):
    """No term before a second "task" exists is a port's silent failure: here there is one as soon as weights moved."""
    loop = Loop("lwf(warmup=0)", make)
    x, y = loop.batches[0]
    assert loop.loss(x, y).item() > Loop("", make).loss(x, y).item() + 0.1
    loop.methods.step(None)
    with torch.no_grad():
        loop.model.stage1[1].weight.mul_(1.5)
    g, plain = loop.gradients(x, y), Loop("", make)
    plain.model.load_state_dict(loop.weights())
    bare = plain.gradients(x, y)
    assert all((g[n] - bare[n]).abs().max() > 1e-6 for n in g if n.endswith("weight") and "head" not in n)
    assert torch.equal(g["head.weight"], bare["head.weight"])
    assert kept_head(loop).weight.grad.abs().max() > 1e-6


def test_it_pulls_to_nothing_at_the_starting_point():
    """With layer normalisation the student is the teacher at the start: Ω is at its minimum, the entropy of y'."""
    loop = Loop("lwf(warmup=0)")
    x, y = loop.batches[0]
    g, plain = loop.gradients(x, y), Loop("").gradients(x, y)
    assert_close(g, plain, rtol=1e-12)
    assert kept_head(loop).weight.grad.abs().max() < 1e-14


def test_the_source_head_is_a_copy_that_trains_and_is_not_exported():
    head = source_head(token_net)
    before = head.weight.clone()
    loop = Loop("lwf", source_head=head).train()
    assert torch.equal(head.weight, before)
    assert not torch.equal(kept_head(loop).weight, before)
    assert not any("source" in name for name in loop.model.state_dict())
    assert "source_head" in loop.methods.state_dict()["states"]["lwf"]


@pytest.mark.parametrize("make", NETWORKS)
def test_a_strong_pull_keeps_the_old_answers(make):
    def forgotten(text):
        loop = Loop(text, make).train()
        x, _ = loop.batches[0]
        with torch.no_grad():
            old = source_head(make)(run_forward(make().eval(), HEAD, x).rep)
            head = kept_head(loop) if text else source_head(make)
            new = head(run_forward(loop.model.eval(), HEAD, x).rep)
        return F.kl_div(new.log_softmax(1), old.log_softmax(1), log_target=True, reduction="batchmean").item()

    assert forgotten("lwf(lam=5, warmup=0)") < 0.5 * forgotten("")


def test_without_a_source_head_it_says_what_to_pass():
    with pytest.raises(UsageError, match=r"lwf keeps the source classes .* prepare\(model, source_head=old_head\)"):
        Loop("lwf", source_head=None)


def test_a_head_of_another_network_is_refused():
    with pytest.raises(UsageError, match="the source head reads 5 features, the network gives 6"):
        Loop("lwf", source_head=source_head(conv_net))


def test_warm_up_needs_total_steps():
    with pytest.raises(UsageError, match=r"lwf needs total_steps"):
        Loop("lwf", total_steps=None)
    Loop("lwf(warmup=0)", total_steps=None)


# -- answers recorded before training --------------------------------------------------------------------
class Indexed(Loop):
    """A host whose batches carry the samples' indices; what is recorded comes from other views of the images."""

    def __init__(self, *args, recorded_from=None, **options):
        super().__init__(*args, **options | {"resumes": True})
        self.indices = [torch.arange(8 * i, 8 * (i + 1)) for i in range(3)]
        if recorded_from is not None:
            labels = [y for _, y in self.batches]
            self.methods.calibrate(list(zip(recorded_from, labels, self.indices, strict=True)))

    def loss(self, x, y):
        index = self.indices[self.t % 3]
        x, y = self.methods.on_batch(x, y, index[: len(x)])
        return self.methods.loss(F.cross_entropy(self.network(x), y))


def views(loop_batches):
    """Other crops: mirrored, and in another order of channels."""
    return [x.flip(-1).roll(1, 1) for x, _ in loop_batches]


def recorded_answers(make):
    """z⁰ of step t, from the other views."""
    rows = []
    for x in views(batches()):
        with torch.no_grad():
            rows.append(source_head(make)(run_forward(make().eval(), HEAD, x).rep))
    return lambda t: rows[t % 3]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("text", "probe_steps", "options"),
    [
        ("lwf@li2016", 1, {"squared_T": False}),
        ("lwf@tllib", 0, {"lam": 4.0, "T": 3.0, "squared_T": False}),
        ("lwf(targets='recorded', warmup=0)", 0, {}),
    ],
)
def test_recorded_answers_are_the_oracles(make, text, probe_steps, options):
    penalty = oracle.penalty(source_head(make), recorded=recorded_answers(make), **options)
    wanted = lp_ft_oracle.lp_ft(
        make(), HEAD, batches(), probe_steps=probe_steps, steps=8, penalty=penalty, **added(make), **OPTIONS
    )
    loop = Indexed(text, make, recorded_from=views(batches()))
    for t in range(8):
        loop.train(1)
        assert_close(loop.weights() | loop.added(), wanted.weights[t + 1] | wanted.buffers[t + 1], rtol=1e-9)


@pytest.mark.parametrize("make", NETWORKS)
def test_recording_leaves_no_trace_and_needs_no_teacher(make):
    loop = Indexed("lwf@tllib", make, recorded_from=views(batches()))
    assert_equal(loop.weights(), make().state_dict())
    assert all(m.training for m in loop.model.modules())
    assert loop.methods._teacher is None


def test_a_resumed_run_takes_the_recorded_answers_from_its_checkpoint():
    whole = Indexed("lwf@li2016", conv_net, recorded_from=views(batches())).train(3)
    file = whole.save()
    whole.train(5)
    again = Indexed.resumed(file, "lwf@li2016", conv_net, weights_first=True).train(5)
    assert_equal(again.weights() | again.added(), whole.weights() | whole.added())


def test_what_was_not_recorded_is_told():
    loop = Indexed("lwf(targets='recorded', warmup=0)")
    with pytest.raises(UsageError, match=r"needs what is recorded before training: give \(x, y, index\) batches to"):
        loop.train(1)
    loop = Indexed("lwf(targets='recorded', warmup=0)", recorded_from=views(batches()))
    for indices in ([torch.arange(100, 108)], [torch.tensor([-1] * 8)]):
        loop.indices = indices * 3
        with pytest.raises(UsageError, match="a sample of this batch was not recorded"):
            loop.train(1)


def test_a_gap_in_what_was_recorded_is_told():
    loop = Indexed("lwf(targets='recorded', warmup=0)")
    loop.methods.calibrate([(*loop.batches[0], loop.indices[0]), (*loop.batches[2], loop.indices[2])])
    loop.train(1)
    with pytest.raises(
        UsageError, match="a sample of this batch was not recorded; calibrate with the whole training set"
    ):
        loop.train(1)


def test_batches_without_indices_are_refused():
    loop = Loop("lwf(targets='recorded', warmup=0)", resumes=True)
    with pytest.raises(UsageError, match="needs their indices: give"):
        loop.methods.calibrate(loop.batches)
    with pytest.raises(UsageError, match="the loader gave none"):
        loop.methods.calibrate([])
    loop = Indexed("lwf(targets='recorded', warmup=0)", recorded_from=views(batches()))
    with pytest.raises(UsageError, match=r"one index for each of the 8 samples, found none: give"):
        Loop.loss(loop, *loop.batches[0])


def test_a_sample_that_was_seen_twice_has_the_mean_of_its_answers():
    loop = Indexed("lwf(targets='recorded')", recorded_from=None)
    x, y = loop.batches[0]
    index = torch.arange(8)
    loop.methods.calibrate([(x, y, index), (x.flip(-1), y, index)])
    rows = loop.methods._members[0].state.recorded.of(Batch(x, y, index), 8, "test")
    answers = [source_head(token_net)(run_forward(token_net(), HEAD, view).rep) for view in (x, x.flip(-1))]
    torch.testing.assert_close(rows, (answers[0] + answers[1]).detach() / 2)


# -- the head under several processes, and in the text ---------------------------------------------------
@pytest.mark.parametrize("make", [token_net])
@pytest.mark.parametrize("text", ["lwf(warmup=0.3)", "dtnh(lwf(warmup=0.3))"])
def test_two_ranks_equal_one_in_both_phases(make, text):
    alone = Loop(text, make).train().weights()
    for weights in ranks.train_on_two(holdfast.compose(text).expression.methods[0], make, steps=8):
        assert_close(weights, alone, rtol=1e-9)


def test_the_description_says_factor_targets_and_warm_up():
    (line,) = Loop("lwf(lam=0.5, T=3)").methods.describe()
    assert (
        "4.5 × cross-entropy of the source head with the starting point's answers on the same view, both at T=3" in line
    )
    assert "the new head alone for the first 1 steps" in line
    (line,) = Loop("lwf@tllib", resumes=True).methods.describe()
    assert "4 × cross-entropy" in line
    assert "recorded before training" in line


@pytest.mark.parametrize("value", ["lam=-1", "T=0", "warmup=1.5", "targets='other'", "squared_T=2"])
def test_values_out_of_range_are_refused(value):
    with pytest.raises(UsageError, match=f"lwf: {value.partition('=')[0]} must be"):
        holdfast.compose(f"lwf({value})")


def test_golden_trajectory():
    follows_golden("lwf")
