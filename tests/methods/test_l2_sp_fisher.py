"""L2-SP-Fisher against its formula, limit cases and the oracles of the penalty and of F; where F comes from."""

import pytest
import torch
from safetensors.torch import save_file

import holdfast
from holdfast.core.errors import DataError, StartingPointError, UsageError
from holdfast.core.information import Information
from methods import contract
from methods.informed import oracles_fisher, write
from methods.loop import NETWORKS, Loop, assert_close, assert_equal, conv_net, token_net
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import l2_sp as l2_sp_oracle
from reference import l2_sp_fisher as oracle
from reference.networks import HEAD


@contract.every_check
@pytest.mark.parametrize("text", ["l2_sp_fisher(alpha=20)", "l2_sp_fisher(alpha=20, kind='topk', labels=2, samples=9)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("kind", "labels", "samples"), [("exact", 1, 24), ("topk", 3, 24), ("monte_carlo", 2, 24), ("exact", 1, 11)]
)
def test_measured_and_trained_with_is_the_oracles(make, kind, labels, samples):
    """F, and the whole trajectory under it: to the last of nine digits."""
    F = oracles_fisher(make, kind, labels, samples)
    text = f"l2_sp_fisher(alpha=20, beta=0.7, kind='{kind}', labels={labels}, samples={samples})"
    loop = follow(text, make, {"penalty": oracle.penalty(F, 20.0, 0.7)})
    assert_close(measured(loop), F)


def measured(loop):
    return loop.methods.state_dict()["states"]["l2_sp_fisher"]["information"]["tensors"]


@pytest.mark.parametrize("make", NETWORKS)
def test_the_preset_is_the_authors_code(make):
    F = oracles_fisher(make)
    text = "l2_sp_fisher@li2018(alpha=20, beta=0.7, kind='exact', fisher_eps=0.001)"
    follow(text, make, {"penalty": oracle.penalty(F, 20.0, 0.7, eps=0.001, include="weights")})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("include", ["+bias", "+norm"])
def test_include_is_the_oracles(make, include):
    text = f"l2_sp_fisher(alpha=20, beta=0, kind='exact', include='{include}')"
    follow(text, make, {"penalty": oracle.penalty(oracles_fisher(make), 20.0, 0.0, include=include)})


@pytest.mark.parametrize("make", NETWORKS)
def test_a_fisher_of_ones_is_l2_sp(make, tmp_path):
    ones = {name: torch.ones_like(p) for name, p in make().named_parameters()}
    file = write(tmp_path / "ones.safetensors", ones, make)
    follow(f"l2_sp_fisher(alpha=0.3, beta=0.7, fisher='{file}')", make, {"penalty": l2_sp_oracle.penalty(0.3, 0.7)})


def test_closed_form_on_two_numbers(tmp_path):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[1].weight.fill_(3.0)
        net[2].weight.fill_(-2.0)
    save_file({"1.weight": torch.tensor([[4.0]])}, tmp_path / "F.safetensors")
    methods = holdfast.compose(f"l2_sp_fisher(alpha=0.5, beta=0.25, fisher_eps=1, fisher='{tmp_path}/F.safetensors')")
    methods.prepare(net, "2")
    with torch.no_grad():
        net[1].weight.fill_(5.0)
    loss = methods.loss(net(torch.ones(1, 1)).sum() * 0)
    assert loss.item() == 0.5 * 0.5 * (4 + 1) * 2**2 + 0.5 * 0.25 * 4
    loss.backward()
    assert net[1].weight.grad.item() == 0.5 * 5 * 2
    assert net[2].weight.grad.item() == 0.25 * -2


@pytest.mark.parametrize("make", NETWORKS)
def test_a_file_gives_what_measuring_gives(make, tmp_path):
    file = write(tmp_path / "F.safetensors", oracles_fisher(make), make)
    read = Loop(f"l2_sp_fisher(alpha=20, fisher='{file}')", make).train()
    assert_close(read.weights(), Loop("l2_sp_fisher(alpha=20, kind='exact')", make).train().weights())


def test_calibrating_leaves_no_trace():
    loop, plain = Loop("l2_sp_fisher(alpha=20)", conv_net), Loop("", conv_net)
    assert_equal(loop.weights(), plain.weights())
    assert [m.training for m in loop.model.modules()] == [m.training for m in plain.model.modules()]
    assert all(p.grad is None for p in loop.model.parameters())
    assert loop.model.head.out_features == 4


@pytest.mark.parametrize("make", NETWORKS)
def test_a_resumed_run_neither_measures_nor_reads_again(make, tmp_path, monkeypatch):
    for source in ("file", "calibrate"):
        file = write(tmp_path / "F.safetensors", oracles_fisher(make), make)
        text = "l2_sp_fisher(alpha=20)" if source == "calibrate" else f"l2_sp_fisher(alpha=20, fisher='{file}')"
        whole = Loop(text, make).train(3)
        saved = whole.save()
        whole.train(3)
        file.unlink()
        with monkeypatch.context() as patch:
            patch.setattr(Information, "measure", lambda *_: pytest.fail("measured again"))
            patch.setattr(Information, "_read", lambda *_: pytest.fail("read again"))
            for first in (True, False):
                resumed = Loop.resumed(saved, text, make, weights_first=first)
                assert_equal(resumed.train(3).weights(), whole.weights())


def test_the_anchor_is_the_saved_one():
    loop, start = Loop("l2_sp_fisher(alpha=20)").train(4), Loop("").weights()
    resumed = Loop.resumed(loop.save(), "l2_sp_fisher(alpha=20)", weights_first=True)
    assert_equal(resumed.methods.state_dict()["start"], {n: v for n, v in start.items() if not n.startswith(HEAD)})


def test_the_head_is_pulled_to_zero_and_not_weighed():
    loop = Loop("l2_sp_fisher(alpha=20, beta=0.5)")
    x, y = loop.batches[0]
    ours, theirs = loop.gradients(x, y), Loop("").gradients(x, y)
    for name in ("head.weight", "head.bias"):
        torch.testing.assert_close(ours[name] - theirs[name], 0.5 * loop.weights()[name])
    assert not [name for name in measured(loop) if name.startswith(HEAD)]


def unprepared(text, make=token_net, **options):
    """Methods on a network, not calibrated."""
    return Loop(text, make, resumes=True, **options)


def test_without_a_pass_over_data_the_first_loss_says_what_is_missing():
    loop = unprepared("l2_sp_fisher")
    assert "is measured by methods.calibrate(loader), on target inputs" in loop.methods.describe()[0]
    with pytest.raises(UsageError, match=r"l2_sp_fisher has no Fisher information yet: call methods\.calibrate"):
        loop.loss(*loop.batches[0])


def test_without_a_source_head_or_a_file_it_is_refused_at_once():
    with pytest.raises(UsageError, match=r"l2_sp_fisher keeps the source classes.*source_head=old_head"):
        Loop("l2_sp_fisher", source_head=None)
    Loop("l2_sp_fisher(alpha=0)", source_head=None).train(1)


def test_f_is_of_the_starting_point_or_of_nothing():
    loop = unprepared("l2_sp_fisher(beta=0)")
    loop.methods.clock.advance()
    with pytest.raises(UsageError, match=r"measures F at w⁰: call methods\.calibrate\(loader\) before the first"):
        loop.methods.calibrate(loop.batches)


def test_a_loader_without_samples_is_refused():
    with pytest.raises(UsageError, match="calibrate got no samples"):
        unprepared("l2_sp_fisher").methods.calibrate([])


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda F: F.pop("embed.weight"),
            StartingPointError,
            r"another network \(timm:x\): it holds nothing for embed",
        ),
        (
            lambda F: F.update({"position": torch.ones(3)}),
            StartingPointError,
            r"shape \(3,\) for position, expected shape",
        ),
        (lambda F: F["embed.bias"].fill_(-1), DataError, r"embed\.bias is not finite and >= 0"),
        (lambda F: F["embed.bias"].fill_(float("nan")), DataError, r"embed\.bias is not finite"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, spoil, error, message):
    F = oracles_fisher(token_net)
    spoil(F)
    file = write(tmp_path / "F.safetensors", F, token_net, model="timm:x")
    loop = Loop(f"l2_sp_fisher(fisher='{file}')")
    for use in (loop.methods.describe, lambda: loop.loss(*loop.batches[0])):
        with pytest.raises(error, match=message):
            use()


def test_a_file_of_other_weights_of_the_same_network_is_refused(tmp_path):
    file = write(tmp_path / "F.safetensors", oracles_fisher(token_net), lambda: token_net(seed=3))
    loop = Loop(f"l2_sp_fisher(fisher='{file}')")
    with pytest.raises(StartingPointError, match=r"measured at other weights: there ‖\S+‖ is [\d.]+, at this start"):
        loop.train(1)


def test_a_missing_or_damaged_file_is_named(tmp_path):
    gone, broken = tmp_path / "gone.safetensors", tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    for file, error in ((gone, UsageError), (broken, DataError)):
        with pytest.raises(error, match=file.name):
            Loop(f"l2_sp_fisher(fisher='{file}')").train(1)


def test_describe_gives_the_mean_of_f_and_how_it_was_made(tmp_path):
    F = oracles_fisher(token_net)
    mean = sum(f.sum() for f in F.values()) / sum(f.numel() for f in F.values())
    largest = max(float(f.max()) for f in F.values())
    file = write(tmp_path / "F.safetensors", F, token_net)
    (line,) = Loop(f"l2_sp_fisher(alpha=0.5, fisher='{file}', fisher_eps=0.01)").methods.describe()
    assert (
        f"F has mean {mean:.3g} + 0.01 and reaches {largest:.3g}, from {file}: 24 samples, all labels, source" in line
    )
    assert "0.25·Σ F (w − w⁰)² on the body: 11 tensors" in line
    (line,) = Loop("l2_sp_fisher(labels=3)").methods.describe()
    wanted = "from the training loader: 24 samples, 3 label(s), monte_carlo, target inputs through the source head"
    assert wanted in line


def test_golden_trajectory():
    follows_golden("l2_sp_fisher(alpha=20, beta=0.7)")
