"""Which layers stand before which."""

import itertools

import pytest
import timm
import torch
import torchvision
from torch import nn

from holdfast.core.depth import front, layers
from holdfast.core.locate import locate

TOKENS = "encoder.layers.encoder_layer"


def told(model):
    return layers(model, locate(model).head)


def test_residual_networks_go_by_stem_then_blocks():
    with torch.device("meta"):
        found = told(torchvision.models.resnet101())
    blocks = [f"layer{stage}.{i}" for stage, n in enumerate((3, 4, 23, 3), 1) for i in range(n)]
    assert found == ["bn1", *blocks]


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("vgg11_bn", 10, ["features.1", "features.5"], ["classifier.0", "classifier.3"]),
        ("mobilenet_v2", 19, ["features.0", "features.1"], ["features.17", "features.18"]),
        ("efficientnet_b0", 18, ["features.0", "features.1.0"], ["features.7.0", "features.8"]),
        ("densenet121", 8, ["features.norm0", "features.denseblock1"], ["features.transition3", "features.norm5"]),
        ("convnext_tiny", 22, ["features.0", "features.1.0"], ["features.7.1", "classifier.0"]),
        ("vit_b_32", 13, ["conv_proj", f"{TOKENS}_0"], [f"{TOKENS}_10", "encoder.ln"]),
        ("maxvit_t", 6, ["stem", "blocks.0"], ["classifier.2", "classifier.3"]),
    ],
)
def test_torchvision(name, count, first, last):
    with torch.device("meta"):
        found = told(torchvision.models.get_model(name))
    assert (len(found), found[:2], found[-2:]) == (count, first, last)


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("resnet50", 17, ["bn1", "layer1.0"], ["layer4.1", "layer4.2"]),
        ("efficientnet_b0", 18, ["bn1", "blocks.0.0"], ["blocks.6.0", "bn2"]),
        ("convnext_atto", 16, ["stem", "stages.0.blocks.0"], ["stages.3.blocks.0", "head.norm"]),
        ("vit_tiny_patch16_224", 13, ["patch_embed", "blocks.0"], ["blocks.10", "norm"]),
        ("swin_tiny_patch4_window7_224", 16, ["patch_embed", "layers.0.blocks.0"], ["layers.3.blocks.0", "norm"]),
    ],
)
def test_timm(name, count, first, last):
    with torch.device("meta"):
        found = told(timm.create_model(name))
    assert (len(found), found[:2], found[-2:]) == (count, first, last)


@pytest.mark.parametrize("make", [torchvision.models.resnet18, torchvision.models.vgg11_bn])
def test_all_layers_together_are_the_body(make):
    with torch.device("meta"):
        model = make()
    head = locate(model).head
    whole = front(model, head, count=len(layers(model, head)))
    body = [name for name, _ in model.named_parameters() if not name.startswith(f"{head}.")]
    assert [r.name for r in whole.parameters] == body
    assert list(whole.batchnorms) == [path for path, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]


def test_each_layer_adds_to_the_front():
    with torch.device("meta"):
        model = timm.create_model("vit_tiny_patch16_224")
    fronts = [front(model, "head", count=k).parameters for k in range(14)]
    assert not fronts[0]
    assert [len(p) for p in fronts] == sorted({len(p) for p in fronts})
    assert {"cls_token", "pos_embed"} <= {r.name for r in fronts[1]}
    assert all(a == b[: len(a)] for a, b in itertools.pairwise(fronts))
