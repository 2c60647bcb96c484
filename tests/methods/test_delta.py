"""DELTA against its formula, limit cases, the oracle with attention measured by the oracle too, and inside DTNH."""

import copy

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import ConflictError, DataError, UsageError
from holdfast.functional.maps import channel_attention
from methods import contract, micro
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop, assert_close, assert_equal, differ, frozen_conv_net
from methods.oracles import batches, follow
from methods.trajectories import follows_golden
from reference import delta as oracle
from reference import dtnh as dtnh_oracle
from reference.networks import HEAD, conv_net, token_net
from reference.training import train

LAYERS = {"conv_net": ("stage1.0", "stage2.0"), "frozen_conv_net": ("stage1.0", "stage2.0")}
LAYERS["token_net"] = ("stage1.1", "stage2.1")


@contract.every_check
@pytest.mark.parametrize("text", ["delta(alpha=0.5, beta=0.3)", "delta(alpha=0.5, attention='even')"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def with_trained_head(make, epochs):
    """The oracle's: nothing but the head trains, in evaluation mode, the rate falling to a tenth in 6 epochs."""
    model = make().eval().requires_grad_(False)
    model.get_submodule(HEAD).requires_grad_(True)
    found = train(
        model,
        HEAD,
        batches(),
        steps=3 * epochs,
        lr=0.01,
        momentum=0.9,
        weight_decay=1e-4,
        schedule=lambda t: 0.1 ** ((t // 3) / 6),
    )
    model.load_state_dict(found.weights[-1] | found.buffers[-1])
    return model


def attention_of(make, epochs=10, count=3):
    model = with_trained_head(make, epochs)
    chosen = batches()[:count]
    return {layer: oracle.attention(oracle.rises(model, layer, chosen)) for layer in LAYERS[make.__name__]}


def state(loop):
    return next(m.state for m in loop.methods._walk() if m.method.stem == "delta")


@pytest.mark.parametrize("make", [*NETWORKS, frozen_conv_net])
@pytest.mark.parametrize(("epochs", "count"), [(10, 3), (0, 1), (7, 2)])
def test_attention_is_the_oracles(make, epochs, count):
    """The body truly frozen while it is measured: bit for bit the starting point, batch-norm's statistics included."""
    loop = Loop(f"delta(epochs={epochs}, batches={count})", make)
    wanted = attention_of(make, epochs, count)
    found = {layer: channel_attention(rise) for layer, rise in state(loop).rise.items()}
    assert_close(found, wanted, rtol=1e-9)
    assert all(a.std() > 0 for a in wanted.values())


@pytest.mark.parametrize("make", [*NETWORKS, frozen_conv_net])
@pytest.mark.parametrize(("preset", "alpha"), [("", 0.7), ("@delta2019", 0.07), ("@tllib", 0.07)])
def test_trajectory_is_the_oracles(make, preset, alpha):
    penalty = oracle.penalty(attention_of(make), alpha, 0.3, "sum" if preset else "mean")
    follow(f"delta{preset}(alpha={alpha}, beta=0.3)", make, {"penalty": penalty, "taps": LAYERS[make.__name__]})


@pytest.mark.parametrize("make", NETWORKS)
def test_inside_dtnh_it_is_both_oracles(make):
    rule = dtnh_oracle.rule(oracle.penalty(attention_of(make), 3.0, 0.3))
    follow("dtnh(delta(alpha=3, beta=0.3))", make, {"rule": rule, "taps": LAYERS[make.__name__]})


@pytest.mark.parametrize("make", NETWORKS)
def test_even_attention_at_named_layers_is_the_oracles(make):
    even = {"stage1.1": torch.full((5 if make is conv_net else 6,), 1.0).double()}
    even["stage1.1"] /= len(even["stage1.1"])
    text = "delta(alpha=0.7, beta=0, attention='even', layers='stage1.1')"
    follow(text, make, {"penalty": oracle.penalty(even, 0.7, 0.0), "taps": ("stage1.1",)})


def test_closed_form_on_two_numbers():
    """One channel: a = 1, so Ω = α/2·(Δw·x)² + β/2·w_head²."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        net[1].weight.fill_(3.0)
        net[2].weight.fill_(-2.0)
    methods = holdfast.compose("delta(alpha=0.5, beta=0.25, layers='1')")
    methods.prepare(net, "2")
    x = torch.tensor([[2.0], [4.0]], dtype=torch.float64)
    methods.calibrate([(x, torch.zeros(2, dtype=torch.long))])
    with torch.no_grad():
        net[1].weight.fill_(5.0)
    loss = methods.loss(net(x).sum() * 0)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 / 2 * (4**2 + 8**2) / 2 + 0.25 / 2 * 4)
    assert net[1].weight.grad.item() == pytest.approx(0.5 * 2 * (2**2 + 4**2) / 2)
    assert net[2].weight.grad.item() == 0.25 * -2


@pytest.mark.parametrize("make", NETWORKS)
def test_measuring_leaves_no_trace(make):
    """Weights, statistics, modes, gradients, generators; and training with strength near 0 is plain training."""
    methods, model = holdfast.compose("delta"), make()
    model.stage1.eval()
    methods.prepare(model, HEAD)
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    drawn = torch.get_rng_state()
    methods.calibrate(batches())
    assert_equal(model.state_dict(), before)
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_moving_statistics_would_show():
    """The public port's failure: with batch-norm in training mode while the head trains, attention is another."""
    model = with_trained_head(conv_net, 10)
    with torch.no_grad():
        moved = copy.deepcopy(model).train()
        for _ in range(10):
            for x, _ in batches():
                moved(x)
    first = LAYERS["conv_net"][0]
    still, drifted = (oracle.attention(oracle.rises(m, first, batches())) for m in (model, moved))
    assert (still - drifted).abs().max() > 1e-4
    loop = Loop("delta(batches=3)", conv_net)
    assert_close({"a": channel_attention(state(loop).rise[first])}, {"a": still})


def test_attention_is_kept_in_a_file_and_read_again(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    file = tmp_path / "A.safetensors"
    text = f"delta(alpha=0.7, attention='{file}', batches=2)"
    first = Loop(text, conv_net)
    assert_equal(load_file(file), state(first).rise)
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {"what": "loss rise by channel", "epochs": "10", "batches": "2"}
    again = Loop(text, conv_net, resumes=True)  # no calibration: the file has it
    assert_equal(again.train().weights(), first.train().weights())
    assert "attention from" in again.methods.describe()[0]
    doubled = {name: -rise for name, rise in load_file(file).items()}
    save_file(doubled, file)
    assert differ(Loop(text, conv_net).train().weights(), first.weights())  # what is there is taken, not made anew


def test_files_of_other_layers_are_refused(tmp_path):
    file = tmp_path / "A.safetensors"
    text = f"delta(attention='{file}')"
    Loop(text, conv_net)
    with pytest.raises(UsageError, match=r"has nothing for stage1\.1, stage2\.1, only for stage1\.0, stage2\.0: it is"):
        Loop(text, token_net)
    wide = conv_net()
    wide.stage1[0], wide.stage1[1] = nn.Conv2d(3, 5, 3, padding=1).double(), nn.BatchNorm2d(5).double()
    from safetensors.torch import load_file, save_file

    save_file({name: rise[:3].clone() for name, rise in load_file(file).items()}, file)
    with pytest.raises(UsageError, match=r"stage1\.0 has 5 channels, the file weighs 3: name another file"):
        Loop(text, lambda: wide).train(1)
    file.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="no complete safetensors file"):
        Loop(text, conv_net)
    with pytest.raises(UsageError, match=r"A\.safetensors cannot be written: "):
        Loop(f"delta(attention='{file}/A.safetensors')", conv_net)


def test_a_folder_that_is_missing_does_not_lose_the_measurement(tmp_path):
    Loop(f"delta(attention='{tmp_path}/new/A.safetensors', epochs=1)", conv_net)
    assert (tmp_path / "new" / "A.safetensors").is_file()


def test_resuming_measures_nothing_again():
    loop = Loop("delta(alpha=0.5)", conv_net).train(3)
    resumed = Loop.resumed(loop.save(), "delta(alpha=0.5)", conv_net, weights_first=True)
    assert_equal(dict(state(resumed).rise), dict(state(loop).rise))
    resumed.methods.calibrate(1 / 0 for _ in range(1))
    assert_equal(resumed.train(2).weights(), loop.train(2).weights())


def test_training_without_the_measurement_says_what_to_do():
    loop = Loop("delta(alpha=0.5)", conv_net, resumes=True)
    with pytest.raises(UsageError, match=r"has not measured its attention: call methods\.calibrate\(loader\) after"):
        loop.train(1)
    with pytest.raises(UsageError, match="the loader passed to calibrate is empty"):
        loop.methods.calibrate([])
    Loop("delta(alpha=0.5, attention='even')", conv_net, resumes=True).train(1)


def test_the_head_is_not_pulled_to_its_random_start_and_owns_its_decay():
    with pytest.raises(ConflictError, match=r"delta and l2 both penalise head\.weight"):
        Loop("delta+l2")
    Loop("delta+l2_sp(head='free')").train(1)
    loop = Loop("delta(alpha=0, beta=2)", token_net)
    x, y = loop.batches[0]
    plain, found = Loop("", token_net).gradients(x, y), loop.gradients(x, y)
    head = loop.model.get_submodule(HEAD)
    torch.testing.assert_close(found["head.weight"], plain["head.weight"] + 2 * head.weight.detach())
    assert torch.equal(found["embed.weight"], plain["embed.weight"])


SUM, HALF = "delta@delta2019(alpha=0.2, beta=0)", "delta@delta2019(alpha=0.1, beta=0)"


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
def test_a_sum_over_the_batch_shrinks_with_accumulation(make):
    """``reduction='sum'``: the features' part of two averaged halves weighs half."""
    micro.sums_weigh_half_in_two_halves(SUM, HALF, make)
    assert holdfast.DELTA().additive
    assert not holdfast.DELTA(reduction="sum").additive


def test_two_ranks_weigh_a_sum_over_the_batch_half():
    micro.sums_weigh_half_on_two_ranks(SUM, HALF)


def test_describe_says_where_how_and_whence():
    (line,) = Loop("delta@tllib(alpha=0.1)", conv_net).methods.describe()
    assert line == (
        "delta: 0.1·½·C·a_c/(H·W)·‖F_c − F⁰_c‖² at stage1.0, stage2.0; sum over the batch; attention of 10 batches "
        "after 10 epochs of the head; 0.005·‖w‖² on the head, replaces its weight decay"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delta(alpha=-1)", "alpha must be finite and >= 0, got -1"),
        ("delta(attention='none')", "attention is 'measured', 'even' or a .safetensors file, got 'none'"),
        ("delta(batches=0)", "batches must be finite and >= 1, got 0"),
        ("delta(epochs=1.5)", "epochs must be a whole number, got 1.5"),
        ("delta(reduction='mean')", "reduction must be one of 'batch', 'sum', got 'mean'"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_golden_trajectory():
    follows_golden("delta(alpha=0.7, beta=0.3)")
