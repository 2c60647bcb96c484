"""Stochastic depth against its formula and the oracle; where the branches are found, on real networks too."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

import holdfast
from holdfast.core.errors import ModelError, UsageError
from holdfast.core.residual import branches
from methods import contract
from methods.loop import NETWORKS, Loop
from methods.oracles import OPTIONS, batches, coins, follow
from methods.trajectories import follows_golden
from reference import stochastic_depth as oracle
from reference.networks import HEAD, conv_net, token_net
from reference.training import train

BRANCHES = {conv_net: ["stage2"], token_net: ["stage1", "stage2"]}
NAMED = ", branches='stage1,stage2'"


@contract.every_check
@pytest.mark.parametrize("text", [f"stochastic_depth(p_L=0.5{NAMED})", f"stochastic_depth(unit='sample'{NAMED})"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


class Noise:
    """A hook that leaves a branch out as the oracle does."""

    def __init__(self, path, p, unit):
        self.path, self.p, self.unit, self.passes = path, p, unit, 0

    def __call__(self, module, _, f):
        shape, name = ((), ("",)) if self.unit == "batch" else ((len(f), *(1,) * (f.ndim - 1)), ())
        b = coins(shape, self.p, "stochastic_depth", self.path, self.passes, *name)
        self.passes += 1
        return oracle.branch(f, b if self.unit == "batch" else b.flatten(), self.p)


def wanted(make, unit, p_L):
    net, paths = make(), BRANCHES[make]
    for path, p in zip(paths, oracle.survival(len(paths), p_L), strict=True):
        net.get_submodule(path).register_forward_hook(Noise(path, p, unit))
    return train(net, HEAD, batches(), steps=8, **OPTIONS)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("unit", ["batch", "sample"])
@pytest.mark.parametrize("p_L", [0.2, 0.5])
def test_trajectory_is_the_oracles(make, unit, p_L):
    given = NAMED if make is token_net else ""
    follow(f"stochastic_depth(p_L={p_L}, unit='{unit}'{given})", make, wanted(make, unit, p_L))


class Chain(nn.Module):
    """Blocks whose activation follows the sum, as in the paper."""

    def __init__(self, blocks=4):
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)) for _ in range(blocks))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = torch.relu(block(x) + x)
        return self.head(x)


@pytest.mark.parametrize("unit", ["batch", "sample"])
def test_a_chain_of_blocks_is_the_oracles(unit):
    net, x = Chain().double(), torch.randn(5, 6).double()
    plain = copy.deepcopy(net)
    methods = holdfast.compose(f"stochastic_depth(p_L=0.5, unit='{unit}')")
    methods.prepare(net)
    assert methods.describe() == [
        "stochastic_depth: 4 residual branches, 'blocks.0' kept with probability 0.875 to 'blocks.3' with 0.5, by "
        f"{unit}; divided by it in training"
    ]
    shape, name = ((), ("",)) if unit == "batch" else ((5, 1), ())
    b = [
        coins(shape, p, "stochastic_depth", f"blocks.{i}", 0, *name).reshape(() if unit == "batch" else (5,))
        for i, p in enumerate(oracle.survival(4))
    ]
    H = oracle.run(plain.stem(x), [(lambda h: h, block) for block in plain.blocks], b)
    torch.testing.assert_close(net(x), plain.head(H))
    net.eval()
    assert torch.equal(net(x), plain(x))


def test_the_probabilities_take_effect():
    """How often each of four branches is left out over many samples: 1/8, 2/8, 3/8 and 4/8."""
    net = Chain()
    holdfast.compose("stochastic_depth(p_L=0.5, unit='sample')").prepare(net)
    left_out = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, __, f: left_out.append((f == 0).all(1).double().mean().item()))
    net(torch.randn(4000, 6))
    assert left_out == pytest.approx([0.125, 0.25, 0.375, 0.5], abs=0.025)


def test_a_last_branch_that_is_never_kept():
    net = Chain(1)
    plain = copy.deepcopy(net)
    holdfast.compose("stochastic_depth(p_L=0)").prepare(net)
    x = torch.randn(5, 6)
    assert torch.equal(net(x), plain.head(torch.relu(plain.stem(x))))


# -- finding the branches --------------------------------------------------------------------------------
def timm_net(name, **options):
    return timm.create_model(name, num_classes=3, **options)


def torchvision_net(name):
    return torchvision.models.get_model(name, num_classes=3)


@pytest.mark.parametrize(
    ("make", "count", "first", "last"),
    [
        (lambda: torchvision_net("resnet18"), 8, "layer1.0.bn2", "layer4.1.bn2"),
        (lambda: torchvision_net("mobilenet_v2"), 10, "features.3.conv", "features.16.conv"),
        (
            lambda: torchvision_net("convnext_tiny"),
            18,
            "features.1.0.stochastic_depth",
            "features.7.2.stochastic_depth",
        ),
        (lambda: torchvision_net("vit_b_16"), 24, "encoder.layers.encoder_layer_0.dropout", None),
        (lambda: timm_net("resnet50"), 16, "layer1.0.bn3", "layer4.2.bn3"),
        (lambda: timm_net("resnet50", drop_path_rate=0.1), 16, "layer1.0.bn3", "layer4.2.drop_path"),
        (lambda: timm_net("convnext_atto"), 12, "stages.0.blocks.0.drop_path", "stages.3.blocks.1.drop_path"),
        (lambda: timm_net("vit_tiny_patch16_224"), 24, "blocks.0.drop_path1", "blocks.11.drop_path2"),
    ],
)
def test_branches_of_real_networks(make, count, first, last):
    found = branches(make())
    assert len(found) == len(set(found)) == count
    assert found[0] == first
    assert last is None or found[-1] == last


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_with_no_branch_kept_a_real_network_is_its_shortcuts(name):
    """What the hooks scale is the branch and nothing else."""
    net = torchvision_net(name)
    x = torch.randn(2, 3, 32, 32)
    paths = branches(net)
    holdfast.compose(f"stochastic_depth(p_L=0, branches='{','.join(reversed(paths))}')").prepare(net)
    seen = {}
    first = net.get_submodule(paths[0].rpartition(".")[0])  # its branch stands last in the list: never kept
    first.register_forward_hook(lambda _, args, out: seen.update(before=args[0].clone(), after=out.clone()))
    net(x)
    torch.testing.assert_close(seen["after"], seen["before"])


def test_drop_paths_of_the_networks_own_are_without_effect_in_training_and_stay():
    net = timm_net("convnext_atto", drop_path_rate=0.9)
    bare = timm_net("convnext_atto")
    bare.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 32, 32)
    for each in (net, bare):
        holdfast.compose("stochastic_depth(unit='sample')").prepare(each)
    assert torch.equal(net(x), bare(x))
    assert net.stages[3].blocks[1].drop_path.drop_prob == pytest.approx(0.9)


def test_a_drop_path_that_serves_two_branches_is_without_effect_too():
    """torchvision's Swin calls one module for both sums of a block: the branches end before it."""
    net = torchvision_net("swin_t")
    methods = holdfast.compose("stochastic_depth")
    methods.prepare(net)
    assert not any(path.endswith("stochastic_depth") for path in methods._members[0].state.paths)
    seen = []
    shared = net.features[7][1].stochastic_depth
    shared.register_forward_hook(lambda _, args, out: seen.append(torch.equal(args[0], out)))
    with torch.no_grad():
        net(torch.randn(2, 3, 64, 64))
    assert shared.p > 0
    assert seen == [True, True]


@pytest.mark.parametrize(("name", "type_"), [("vgg11", "VGG"), ("densenet121", "DenseNet")])
def test_a_network_without_residual_sums_is_refused(name, type_):
    with pytest.raises(ModelError, match=f"{type_} has no residual blocks: expected sums of a branch and what it"):
        holdfast.compose("stochastic_depth").prepare(torchvision_net(name))


def test_a_network_that_cannot_be_run_asks_for_names():
    with pytest.raises(ModelError, match=r"TokenNet cannot be found, for it could not be run .* branches='blocks.0"):
        Loop("stochastic_depth", token_net)
    with pytest.raises(ModelError, match="TokenNet has no module 'stage3'; name modules by their paths"):
        Loop("stochastic_depth(branches='stage1, stage3')", token_net)


def test_a_branch_without_a_module_of_its_own_is_refused():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = self.layer(x)
            x = x + self.layer(torch.relu(x))
            return self.head(x)

    with pytest.raises(ModelError, match="1 of the 1 residual branches of Bare end in no module that runs once"):
        holdfast.compose("stochastic_depth").prepare(Bare())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stochastic_depth(p_L=2)", "p_L must be finite and >= 0 and <= 1, got 2"),
        ("stochastic_depth(unit='row')", "unit must be one of 'batch', 'sample', got 'row'"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_golden_trajectory():
    follows_golden("stochastic_depth(p_L=0.5, branches='stage1,stage2')")
