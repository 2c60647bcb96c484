"""GL-SP-Fisher against its formula, limit cases and the oracles of the penalty and of F, in both forms."""

import math

import pytest
import torch
from safetensors.torch import save_file

import holdfast
from holdfast.core.errors import ConflictError, UsageError
from methods import contract
from methods.informed import oracles_fisher, write
from methods.loop import NETWORKS, Loop, assert_equal, conv_net, token_net
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import gl_sp as gl_sp_oracle
from reference import gl_sp_fisher as oracle
from reference import l2_sp as l2_sp_oracle
from reference.networks import HEAD


@contract.every_check
@pytest.mark.parametrize("text", ["gl_sp_fisher(alpha=1, eps=1e-06)", "gl_sp_fisher(alpha=1, form='proximal')"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("eps", [1e-16, 1e-4])
def test_smoothed_form_is_the_oracles(make, eps):
    text = f"gl_sp_fisher(alpha=0.5, beta=0.7, eps={eps}, kind='exact')"
    follow(text, make, {"penalty": oracle.penalty(oracles_fisher(make), 0.5, 0.7, eps)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("alpha", [0.02, 0.5, 4.0])
def test_proximal_form_is_the_oracles(make, alpha):
    F = oracles_fisher(make)
    wanted = {"penalty": gl_sp_oracle.smooth_part(alpha, 0.7), "after_step": oracle.proximal_step(F, alpha)}
    follow(f"gl_sp_fisher(alpha={alpha}, beta=0.7, form='proximal', kind='exact')", make, wanted)


@pytest.mark.parametrize("make", NETWORKS)
def test_the_preset_is_the_authors_code(make):
    F = {name: value + 0.001 for name, value in oracles_fisher(make).items()}
    groups, head = oracle.penalty(F, 0.5, 0.0, 1e-16, "none"), l2_sp_oracle.penalty(0.0, 0.7, "li2018")
    text = "gl_sp_fisher@li2018(alpha=0.5, beta=0.7, kind='exact', fisher_eps=0.001)"
    follow(text, make, {"penalty": lambda step: groups(step) + head(step)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("form", ["smoothed", "proximal"])
def test_a_fisher_of_ones_is_gl_sp(make, form, tmp_path):
    file = write(tmp_path / "ones.safetensors", {n: torch.ones_like(p) for n, p in make().named_parameters()}, make)
    options = f"alpha=0.05, beta=0.7, form='{form}'"
    wanted = {"penalty": gl_sp_oracle.penalty(0.05, 0.7)}
    if form == "proximal":
        wanted = {"penalty": gl_sp_oracle.smooth_part(0.05, 0.7), "after_step": gl_sp_oracle.proximal_step(0.05)}
    follow(f"gl_sp_fisher({options}, fisher='{file}')", make, wanted)


def test_closed_form_on_one_group(tmp_path):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    save_file({"1.weight": torch.tensor([[4.0, 1.0]])}, tmp_path / "F.safetensors")
    methods = holdfast.compose(f"gl_sp_fisher(alpha=0.5, beta=0, fisher='{tmp_path}/F.safetensors')")
    methods.prepare(net, "2")
    with torch.no_grad():
        net[1].weight += torch.tensor([1.5, 4.0])
    loss = methods.loss(net(torch.ones(1, 2)).sum() * 0)
    assert loss.item() == pytest.approx(0.5 * math.sqrt(2) * 5, rel=1e-6)
    loss.backward()
    wanted = 0.5 * math.sqrt(2) * torch.tensor([[4 * 1.5 / 5, 4 / 5]])
    torch.testing.assert_close(net[1].weight.grad, wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("make", "alpha"), [(conv_net, 4), (token_net, 1)])
def test_frozen_channels_are_counted_and_exactly_at_the_start(make, alpha):
    loop = Loop(f"gl_sp_fisher(alpha={alpha}, form='proximal')", make)
    start = loop.weights()
    after = loop.train().weights()
    kernels = [n for n, p in loop.model.named_parameters() if p.dim() > 1 and n != "position" and HEAD not in n]
    rows = torch.cat([(after[n] == start[n]).flatten(1).all(1) for n in kernels])
    assert loop.methods.log["gl_sp_fisher.frozen"] == rows.sum()
    assert 0 < rows.sum() < len(rows)


def test_numbers_without_information_are_not_held(tmp_path):
    """Where F is 0 the task alone decides, though the rest of the channel is frozen."""
    F = {name: torch.ones_like(p) for name, p in token_net().named_parameters()}
    F["embed.weight"][:, 0] = 0
    file = write(tmp_path / "F.safetensors", F, token_net)
    loop = Loop(f"gl_sp_fisher(alpha=100, form='proximal', fisher='{file}')")
    start = loop.weights()["embed.weight"]
    moved = loop.train().weights()["embed.weight"] != start
    assert bool(moved[:, 0].all())
    assert not moved[:, 1:].any()


@pytest.mark.parametrize("form", ["smoothed", "proximal"])
def test_resumed_runs_keep_the_anchor_and_f(form):
    text = f"gl_sp_fisher(alpha=1, beta=0.5, form='{form}')"
    loop, start = Loop(text).train(4), Loop(text).weights()
    resumed = Loop.resumed(loop.save(), text, weights_first=True).methods.state_dict()
    assert_equal(resumed["start"], {n: v for n, v in start.items() if not n.startswith(HEAD)})
    before = loop.methods.state_dict()["states"]["gl_sp_fisher"]["information"]
    assert_equal(resumed["states"]["gl_sp_fisher"]["information"]["tensors"], before["tensors"])
    assert set(before["tensors"]) == {"embed.weight", "stage1.1.weight", "stage2.1.weight"}


def test_the_head_is_pulled_to_zero_not_to_its_random_start():
    loop = Loop("gl_sp_fisher(beta=0.5)")
    x, y = loop.batches[0]
    ours, theirs = loop.gradients(x, y), Loop("").gradients(x, y)
    for name in ("head.weight", "head.bias"):
        torch.testing.assert_close(ours[name] - theirs[name], 0.5 * loop.weights()[name])


def test_the_proximal_form_is_refused_inside_dtnh():
    with pytest.raises(ConflictError, match=r"proximal part of gl_sp_fisher\(form='proximal'\)"):
        holdfast.compose("dtnh(gl_sp_fisher(form='proximal'))")
    holdfast.compose("dtnh(gl_sp_fisher)")


def test_it_needs_a_source_head_or_a_file_and_a_strength_to_need_them():
    with pytest.raises(UsageError, match=r"gl_sp_fisher keeps the source classes"):
        Loop("gl_sp_fisher", source_head=None)
    Loop("gl_sp_fisher(alpha=0)", source_head=None).train(1)


def test_describe_says_both_what_is_grouped_and_where_f_is_from():
    (line,) = Loop("gl_sp_fisher(alpha=2)").methods.describe()
    assert "2·Σ √p (Σ F (w − w⁰)²)^½, smoothed by 1e-16, on the body: 3 tensors" in line
    assert "18 channels; F has mean" in line
    assert "from the training loader: 24 samples, 1 label(s), monte_carlo, target inputs" in line


def test_golden_trajectory():
    follows_golden("gl_sp_fisher(alpha=0.5, beta=0.7)")
