"""The layers that are compared: by stage, inside of stages, by name; which axis holds the channels."""

import pytest
import timm
import torch
import torchvision
from torch import nn

import holdfast
from holdfast.core.errors import ModelError, UsageError
from holdfast.core.layers import Layer, compared, keep_outputs
from holdfast.core.locate import locate
from reference.networks import HEAD, STAGES, conv_net, token_net

NETWORKS = {
    "torchvision:resnet50": [f"layer{stage}.{block}" for stage, block in ((1, 2), (2, 3), (3, 5), (4, 2))],
    "timm:resnet50": [f"layer{stage}.{block}" for stage, block in ((1, 2), (2, 3), (3, 5), (4, 2))],
    "torchvision:vgg11_bn": [f"features.{i}" for i in (2, 6, 13, 20, 27)],
    "torchvision:swin_t": ["features.1.1", "features.3.1", "features.5.5", "features.7.1"],
    "timm:vit_tiny_patch16_224": [f"blocks.{i}" for i in range(12)],
}
INSIDE = {
    "torchvision:resnet50": ["layer1.2.conv3", "layer2.3.conv3", "layer3.5.conv3", "layer4.2.conv3"],  # DELTA's own
    "timm:resnet10t": ["layer1.0.conv2", "layer2.0.conv2", "layer3.0.conv2", "layer4.0.conv2"],  # not downsample's
    "timm:seresnet50": ["layer1.2.conv3", "layer2.3.conv3", "layer3.5.conv3", "layer4.2.conv3"],  # not se's
    "torchvision:vgg11_bn": [f"features.{i}" for i in (0, 4, 11, 18, 25)],
    "torchvision:densenet121": [
        f"features.denseblock{i}.denselayer{n}.conv2" for i, n in enumerate((6, 12, 24, 16), start=1)
    ],
    "timm:vit_tiny_patch16_224": [f"blocks.{i}.mlp.fc2" for i in range(12)],
}


def network(name):
    library, _, short = name.partition(":")
    with torch.device("meta"):
        return timm.create_model(short) if library == "timm" else torchvision.models.get_model(short)


def paths(model, layers="stages", **options):
    located = locate(model, HEAD if hasattr(model, "stage1") else None)
    return [layer.path for layer in compared(model, located, layers, "know_dist", **options)]


@pytest.mark.parametrize("name", NETWORKS)
def test_ends_of_stages(name):
    assert paths(network(name)) == NETWORKS[name]


@pytest.mark.parametrize("name", INSIDE)
def test_last_convolutions_of_stages(name):
    assert paths(network(name), inside=True) == INSIDE[name]


def test_the_small_networks():
    assert paths(conv_net()) == list(STAGES)
    assert paths(token_net()) == ["stage1.2", "stage2.2"]  # the last of a series gives the series' output
    assert paths(conv_net(), inside=True) == ["stage1.0", "stage2.0"]
    assert paths(token_net(), inside=True) == ["stage1.1", "stage2.1"]


def test_names_are_taken_as_they_are_in_any_order_and_once():
    assert paths(conv_net(), "stage2, stage1.1,stage2") == ["stage2", "stage1.1"]


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"know_dist: the network has no module 'stage'; did you mean 'stage"):
        paths(conv_net(), "stage")
    with pytest.raises(UsageError, match=r"no module ''; there are stage1, stage1\.0"):
        paths(conv_net(), "stage1,")


@pytest.mark.parametrize(
    ("name", "shape", "axis", "positions"),
    [
        ("torchvision:resnet50", (2, 2048, 7, 7), 1, 49),
        ("torchvision:swin_t", (2, 7, 7, 768), 3, 49),
        ("timm:convnext_atto", (2, 320, 7, 7), 1, 49),  # linear layers inside, channels first outside
        ("torchvision:densenet121", (2, 1024, 7, 7), 1, 49),
        ("torchvision:densenet121", (2, 512, 32, 32), 1, 1024),  # 32 is the width of its last convolution too
        ("timm:vit_tiny_patch16_224", (2, 197, 192), 2, 197),
        ("torchvision:resnet50", (2, 2048), 1, 1),
    ],
)
def test_where_the_channels_are(name, shape, axis, positions):
    model = network(name)
    layer = compared(model, locate(model), "stages", "")[-1]
    F = torch.empty(shape, device="meta")
    assert (layer.axis(F), layer.positions(F)) == (axis, positions)


def test_outputs_of_real_networks_agree_with_their_axes():
    model = torchvision.models.swin_t().eval()
    seen = {}
    for layer in compared(model, locate(model), "stages", ""):
        model.get_submodule(layer.path).register_forward_hook(lambda _m, _a, out, each=layer: seen.update({each: out}))
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert [F.shape[layer.axis(F)] for layer, F in seen.items()] == [96, 192, 384, 768]
    assert [layer.positions(F) for layer, F in seen.items()] == [256, 64, 16, 4]


def test_an_activation_in_place_does_not_spoil_a_tapped_convolution():
    model = torchvision.models.vgg11(num_classes=4)
    before = [m.inplace for m in model.modules() if isinstance(m, nn.ReLU)]
    keep_outputs(model, ["features.8", "", "rep"])
    after = [m.inplace for m in model.modules() if isinstance(m, nn.ReLU)]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert model.features[9].inplace is False


class Overwriting(nn.Module):
    """Adds to its features in place, as torchvision's DenseNet applies an activation."""

    def __init__(self, dimensions=2):
        super().__init__()
        self.norm, self.stage1, self.head = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.dimensions = dimensions

    def forward(self, x):
        assert x.ndim == self.dimensions
        z = self.stage1(self.norm(x))
        z += 1
        return self.head(z)


def features_and_penalty(model):
    """What the tap recorded, what stage1 computed, and the penalty at the start."""
    x, seen = torch.randn(3, 4), []
    model.stage1.register_forward_hook(lambda _m, _a, out: seen.append(out.detach().clone()))
    methods = holdfast.compose("know_dist(layers='stage1')")
    methods.prepare(model, HEAD)
    seen.clear()
    logits = model(x)
    (tapped,) = methods._recorder.current.tapped["stage1"]
    methods.loss(logits.square().sum()).backward()
    return tapped, seen[0], methods.log["know_dist.penalty"]


def test_features_that_are_overwritten_are_recorded_before():
    torch.manual_seed(0)
    model = Overwriting()
    bare, x = Overwriting(), torch.randn(2, 4)
    bare.load_state_dict(model.state_dict())
    assert keep_outputs(model, ["stage1", "norm"]) == {"stage1"}
    tapped, computed, penalty = features_and_penalty(model)
    assert torch.equal(tapped, computed)
    assert penalty == 0
    assert torch.equal(model(x), bare(x))


def test_a_real_network_that_overwrites_the_end_of_a_stage():
    model = torchvision.models.densenet121(num_classes=3)
    assert keep_outputs(model, ["features.norm5", "features.denseblock1"]) == {"features.norm5"}


def test_overwritten_features_of_a_network_that_could_not_be_looked_at_are_refused():
    model = Overwriting(dimensions=3)  # no guessed input fits
    methods = holdfast.compose("know_dist(layers='stage1')")
    methods.prepare(model, HEAD)
    loss = model(torch.randn(3, 2, 4)).sum()
    with pytest.raises(ModelError, match=r"features at 'stage1' were overwritten in place .* at another module"):
        methods.loss(loss)


def test_layers_are_values():
    assert Layer("a", 3) == Layer("a", 3)
    assert Layer("a").axis(torch.empty(2, 3, 4, 4)) == 1
