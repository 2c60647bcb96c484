"""Finding the head and the representation in networks of one's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.core.errors import ModelError
from holdfast.core.locate import Located, locate, make_tappable, representation


class Net(nn.Module):
    """A small network whose last lines are a function of the test's choice."""

    def __init__(self, last, **modules: nn.Module):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.fc = nn.Linear(6, 4)
        self.last = last
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self, self.body(x).mean((2, 3)))


def test_multilayer_perceptron():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    assert locate(model) == Located("4", "3", False, 8, 3)


def test_image_size_that_the_network_insists_on_is_found():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3))
    assert locate(model).head == "2"


def test_functional_dropout_after_a_module_is_tapped_at_its_output():
    model = Net(lambda net, z: net.fc(F.dropout(net.norm(z), 0.5, net.training)), norm=nn.LayerNorm(6))
    located = locate(model)
    assert (located.rep, located.rep_is_output) == ("norm", True)
    x = torch.randn(5, 3, 9, 9)
    expected = model.eval().norm(model.body(x).mean((2, 3)))
    torch.testing.assert_close(representation(model, x, located), expected)


def test_functional_dropout_that_no_module_precedes_is_refused():
    model = Net(lambda net, z: net.fc(F.dropout(z, 0.5, net.training)))
    with pytest.raises(ModelError, match=r"nn\.Dropout"):
        locate(model)


def test_two_dropouts_in_a_row_are_both_after_the_representation():
    model = Net(lambda net, z: net.fc(net.two(net.one(z))), one=nn.Dropout(0.3), two=nn.Dropout(0.2))
    assert locate(model).rep == "one"


def test_reshaping_between_dropout_and_head_is_followed():
    model = Net(
        lambda net, z: net.fc(torch.flatten(net.drop(z[:, :, None, None]), 1)),
        drop=nn.Dropout(0.3),
    )
    located = locate(model)
    assert located.rep == "drop"
    assert representation(model, torch.randn(2, 3, 8, 8), located).shape == (2, 6)


def test_dropout_module_with_a_mask_of_its_own_counts():
    class OwnDropout(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (torch.rand_like(x) > 0.5) if self.training else x

    model = Net(lambda net, z: net.fc(net.drop(z)), drop=OwnDropout())
    assert locate(model).rep == "drop"


def test_dropout_elsewhere_is_no_concern():
    model = Net(lambda net, z: net.fc(torch.tanh(net.drop(z))), drop=nn.Dropout(0.3))
    assert locate(model).rep == "fc"


@pytest.mark.parametrize(
    ("last", "modules", "reason"),
    [
        (lambda net, z: (net.fc(z) + net.other(z)) / 2, {"other": nn.Linear(6, 4)}, r"several heads \(fc, other\)"),
        (lambda net, z: net.conv(z[:, :, None, None]).flatten(1), {"conv": nn.Conv2d(6, 4, 1)}, "convolutional head"),
        (lambda net, z: torch.log_softmax(net.fc(z), 1), {}, r"Pass head='fc'"),
        (lambda net, z: net.norm(z), {"norm": nn.LayerNorm(6)}, "no linear head: the output comes from LayerNorm"),
        (lambda net, z: net.fc(z[:, None]).mean(1), {}, r"Pass head='fc'"),
        (lambda net, z: {"a": net.fc(z)}, {}, "returns NoneType; expected logits"),
        (lambda net, z: net.fc(z)[:, :, None], {}, r"no classifier: the network returns shape \(2, 4, 1\)"),
        (lambda net, z: (net.fc(z), z), {}, "2 outputs in training mode"),
    ],
)
def test_refusals_say_why(last, modules, reason):
    with pytest.raises(ModelError, match=reason):
        locate(Net(last, **modules))


def test_explicit_head_is_taken_where_the_network_goes_on_after_it():
    model = Net(lambda net, z: torch.log_softmax(net.fc(net.drop(z)), 1), drop=nn.Dropout(0.3))
    assert locate(model, head="fc") == Located("fc", "drop", False, 6, 4)


@pytest.mark.parametrize(
    ("head", "reason"), [("nowhere", "no module 'nowhere'"), ("body.0", "Conv2d"), ("", "no module")]
)
def test_wrong_explicit_head(head, reason):
    with pytest.raises(ModelError, match=reason):
        locate(Net(lambda net, z: net.fc(z)), head=head)


def test_explicit_head_with_one_row_per_token_is_refused():
    with pytest.raises(ModelError, match=r"shape \(2, 1, 6\)"):
        locate(Net(lambda net, z: net.fc(z[:, None]).mean(1)), head="fc")


def test_head_that_runs_twice_is_refused():
    with pytest.raises(ModelError, match="runs 2 times"):
        locate(Net(lambda net, z: net.fc(z) + net.fc(-z)), head="fc")


class Words(nn.Module):
    """A network that no image or vector fits."""

    def __init__(self, drop: bool):
        super().__init__()
        self.embed = nn.Embedding(5, 6)
        self.drop = nn.Dropout(0.5) if drop else nn.Identity()
        self.fc = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.embed(x).mean(1)))


def test_network_of_another_input_is_located_only_without_dropout():
    assert locate(Words(drop=False)) == Located("fc", "fc", False, 6, 2)
    with pytest.raises(ModelError, match="could not be run"):
        locate(Words(drop=True), head="fc")


def test_nothing_is_touched():
    model = Net(lambda net, z: net.fc(net.drop(z)), drop=nn.Dropout(0.3)).eval()
    model.body.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    generator = torch.get_rng_state()
    locate(model)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_dropout_in_place_spares_the_representation_once_tappable():
    model = Net(lambda net, z: net.fc(net.drop(z)), drop=nn.Dropout(0.5, inplace=True))
    located = locate(model)
    make_tappable(model, located)
    seen = []
    model.drop.register_forward_pre_hook(lambda _module, args: seen.append((args[0], args[0].clone())))
    model(torch.randn(4, 3, 8, 8))
    assert torch.equal(*seen[0])


def test_half_precision_networks_are_traced():
    assert locate(Net(lambda net, z: net.fc(z)).bfloat16()).head == "fc"
