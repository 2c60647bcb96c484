"""R² of units before and after training."""

import json

import pytest
import torch
from torch import nn

from holdfast.analysis.trained.linear_fit import LinearFits
from holdfast.analysis.trained.similarity import similarity
from holdfast.analysis.trained.unit_similarity import named_layers, r2_of
from holdfast.core.layers import Layer
from holdfast.train.labelled import Labelled


def literal_r2(x, y):
    """1 − SS_res / SS_tot of the least-squares line from x to y, one pair of variables, by the normal equations."""
    A = torch.stack([torch.ones_like(x), x], 1).double()
    line = A @ torch.linalg.lstsq(A, y.double()).solution
    return float(1 - ((y - line) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def fitted(x, y, size=7):
    fits = LinearFits()
    for start in range(0, len(x), size):
        fits.add(x[start : start + size], y[start : start + size])
    return fits.fit()


def test_r2_agrees_with_the_line_that_is_fitted():
    x, noise = torch.randn(50, 6).double() * 3 + 5, torch.randn(50, 6).double()
    y = x * torch.linspace(-2, 2, 6) + noise * torch.linspace(0.1, 9, 6)
    expected = [literal_r2(x[:, k], y[:, k]) for k in range(6)]
    assert fitted(x, y).r2.tolist() == pytest.approx(expected, rel=1e-10)
    # with an intercept, the line from y to x explains as much
    assert fitted(y, x).r2.tolist() == pytest.approx(expected, rel=1e-10)


def test_the_batches_do_not_matter():
    x, y = torch.randn(50, 4), torch.randn(50, 4)
    for size in (1, 13, 50):
        torch.testing.assert_close(fitted(x, y, size).r2, fitted(x, y).r2, rtol=1e-12, atol=0)


def test_r2_is_one_for_affine_units_and_zero_for_orthogonal_ones():
    x = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    y = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    found = fitted(torch.stack([x, x, x], 1), torch.stack([4 - 3 * x, y, x + y], 1))
    assert found.r2.tolist() == pytest.approx([1, 0, 0.5], abs=1e-15)


def test_a_mean_far_from_zero_costs_no_digits():
    x, y = torch.randn(200, 3).double(), torch.randn(200, 3).double()
    near, far = fitted(x, y).r2, fitted(x + 1e6, y - 1e6).r2
    torch.testing.assert_close(near, far, rtol=1e-7, atol=0)


def test_units_that_do_not_vary_are_counted_and_left_out():
    varies = torch.randn(20)
    still = torch.full((20,), 0.1)
    rounded = still * (1 + 1e-8 * torch.randn(20).double())
    x = torch.stack([varies.double(), still.double(), varies.double(), rounded], 1)
    y = torch.stack([varies.double(), varies.double(), still.double(), still.double()], 1)
    found = fitted(x, y)
    assert (len(found.r2), found.constant_before, found.constant_after) == (1, 2, 1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)))


@pytest.fixture
def pair():
    """A network, and one whose channels are an affine map, another convolution and a constant of the first's."""
    before, after = Net(), Net()
    with torch.no_grad():
        after.conv.weight.copy_(before.conv.weight)
        after.conv.bias.copy_(before.conv.bias)
        after.conv.weight[0] *= -2
        after.conv.weight[1].normal_()
        after.conv.weight[2].zero_()
    return before, after


@pytest.mark.parametrize("units", ["channels", "positions"])
def test_layers_agree_with_all_activations_in_memory(pair, units):
    before, after = pair
    x = torch.randn(12, 1, 5, 5)
    (found,) = r2_of(before, after, [Layer("conv")], x.split(5), units)
    with torch.no_grad():
        F, G = before.conv(x).double(), after.conv(x).double()
    if units == "channels":
        rows = [(F[:, c].flatten(), G[:, c].flatten()) for c in range(2)]
    else:
        rows = [(F[:, c, i, j], G[:, c, i, j]) for c in range(2) for i in range(3) for j in range(3)]
    expected = sorted(literal_r2(*row) for row in rows)
    assert (found.units, found.constant_before, found.constant_after) == (len(rows) * 3 // 2, 0, len(rows) // 2)
    assert found.r2.count == len(rows)
    assert (found.r2.minimum, found.r2.maximum) == pytest.approx((expected[0], expected[-1]), abs=1e-6)
    assert found.r2.maximum == pytest.approx(1, abs=1e-6)  # the affine channel
    assert found.r2.minimum < 0.9  # the other convolution


def test_activations_in_place_do_not_write_over_what_is_compared(pair):
    """A channel below zero everywhere is constant after the activation, and is not before it."""
    before, after = pair
    with torch.no_grad():
        before.conv.bias[0], after.conv.bias[0] = -100, -100
    x = torch.randn(12, 1, 5, 5)
    conv, act = r2_of(before, after, [Layer("conv"), Layer("act")], [x], "channels")
    assert (conv.constant_before, act.constant_before) == (0, 1)


def test_blocks_are_the_stem_and_every_block_and_names_are_looked_up():
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet18")
    assert [layer.path for layer in named_layers(model)] == ["layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    blocks = [layer.path for layer in named_layers(model, "blocks")]
    assert blocks[1:] == [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert len(blocks) == 9
    with pytest.raises(ValueError, match=r"no module 'layer1.7'; did you mean"):
        named_layers(model, "layer1.7")


def test_a_run_on_its_test_pictures(holdfast, trained, tmp_path):
    done = holdfast("analyse", "similarity", trained[0], "--out", tmp_path, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["data"]["images"], found["inputs"]["part"]) == (6, "test")
    assert len(found["data"]["layers"]) >= 2
    for layer in found["data"]["layers"]:
        counted = layer["constant_before"] + layer["constant_after"] + layer["r2"]["count"]
        assert counted == layer["units"]
        assert 0 <= layer["r2"]["minimum"] <= layer["r2"]["median"] <= layer["r2"]["maximum"] <= 1
    assert "6 pictures" in found["figures"][0]["caption"]
    assert (tmp_path / "similarity.png").stat().st_size > 1000


def test_an_untouched_network_is_itself(holdfast, untouched, tmp_path):
    done = holdfast("analyse", "similarity", untouched, "--out", tmp_path, "--json", "--layers", "blocks")
    layers = json.loads(done.out)["data"]["layers"]
    assert [layer["r2"]["minimum"] for layer in layers] == pytest.approx([1] * len(layers))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--units", "neurons"), "units are 'neurons'; expected channels or positions"),
        (("--layers", "layer9"), "no module 'layer9'"),
        (("--part", "tset"), "unknown part 'tset'"),
        (("--data", "nowhere"), "nowhere does not exist"),
        (("--weights", "nowhere.pt"), "not at"),
    ],
)
def test_mistakes_are_one_line(holdfast, trained, tmp_path, words, said):
    done = holdfast("analyse", "similarity", trained[0], "--out", tmp_path, *words)
    assert done.code == 2
    assert said in done.error


def test_one_picture_is_too_few(untouched):
    with pytest.raises(ValueError, match="expected two or more"):
        similarity(None, None, Labelled(untouched, [None], "test"))
