"""Where stages end."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision

from holdfast.core.errors import ModelError
from holdfast.core.stages import stages


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["layer1.1", "layer2.1", "layer3.1", "layer4.1"]),
        ("vgg11_bn", [f"features.{i}" for i in (2, 6, 13, 20, 27)]),
        ("mobilenet_v2", [f"features.{i}" for i in (1, 3, 6, 13, 18)]),
        ("densenet121", [f"features.{name}" for name in ("denseblock1", "denseblock2", "denseblock3", "norm5")]),
        ("convnext_tiny", ["features.1.2", "features.3.2", "features.5.8", "features.7.2"]),
        ("swin_t", ["features.1.1", "features.3.1", "features.5.5", "features.7.1"]),
        ("vit_b_32", [f"encoder.layers.encoder_layer_{i}" for i in range(12)]),
        ("maxvit_t", [f"blocks.{i}" for i in range(4)]),
        ("shufflenet_v2_x0_5", ["stage2.3", "stage3.7", "stage4.3"]),
    ],
)
def test_torchvision(name, expected):
    with torch.device("meta"):
        assert stages(torchvision.models.get_model(name)) == expected


def test_first_block_that_reduces_is_a_stage():
    ends = ((1, 0), (2, 1), (3, 6), (4, 11))
    expected = [f"trunk_output.block{stage}.block{stage}-{block}" for stage, block in ends]
    assert stages(torchvision.models.regnet_x_400mf()) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["layer1.1", "layer2.1", "layer3.1", "layer4.1"]),
        ("mobilenetv2_050", ["blocks.0.0", "blocks.1.1", "blocks.2.2", "blocks.4.2", "blocks.6.0"]),
        ("convnext_atto", ["stages.0.blocks.1", "stages.1.blocks.1", "stages.2.blocks.5", "stages.3.blocks.1"]),
        ("vit_tiny_patch16_224", [f"blocks.{i}" for i in range(12)]),
        ("densenet121", [f"features.{name}" for name in ("denseblock1", "denseblock2", "denseblock3", "norm5")]),
    ],
)
def test_timm(name, expected):
    with torch.device("meta"):
        assert stages(timm.create_model(name)) == expected


def test_a_body_whose_name_begins_like_a_convolutions_is_no_stem():
    from transformers import ConvNextConfig, ConvNextForImageClassification

    model = ConvNextForImageClassification(ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 32, 64]))
    assert stages(model) == [f"convnext.encoder.stages.{k}" for k in range(4)]


def test_outputs_of_the_stages_shrink():
    model = torchvision.models.mobilenet_v2().eval()
    sides = []
    for path in stages(model):
        model.get_submodule(path).register_forward_hook(lambda _m, _a, out: sides.append(out.shape[-1]))
    with torch.no_grad():
        model(torch.randn(1, 3, 64, 64))
    assert sides == [32, 16, 8, 4, 2]


def test_parallel_branches_are_refused():
    with pytest.raises(ModelError, match="GoogLeNet"):
        stages(torchvision.models.googlenet(aux_logits=False, init_weights=False))
