"""Which layer stands for a stage."""

import pytest
import timm
import torch
from torch import nn

from holdfast.core.errors import ModelError
from holdfast.train.stage_layers import stage_layers


def columns(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    return [layer.column for layer in stage_layers(model)]


def test_the_papers_layers_of_resnet50():
    assert columns("resnet50") == [f"layer{k}.{n}.conv2 3x3" for k, n in enumerate((2, 3, 5, 2), start=1)]


@pytest.mark.parametrize(
    ("name", "first", "last", "count"),
    [
        ("resnet18", "layer1.1.conv2 3x3", "layer4.1.conv2 3x3", 4),
        ("convnext_atto", "stages.0.blocks.1.mlp.fc2 1x1", "stages.3.blocks.1.mlp.fc2 1x1", 4),
        ("vit_tiny_patch16_224", "blocks.0.mlp.fc2 linear", "blocks.11.mlp.fc2 linear", 12),
    ],
)
def test_other_networks(name, first, last, count):
    found = columns(name)
    assert (found[0], found[-1], len(found)) == (first, last, count)


class Two(nn.Module):
    """A stage whose 3×3 convolution is not its last, and one that has none."""

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)))
        self.two = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, (1, 5))))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 2)


def test_a_3x3_goes_before_later_ones_and_any_convolution_before_a_linear_layer():
    assert [layer.column for layer in stage_layers(Two(), "fc")] == ["one.0.0 3x3", "two.0.1 1x5"]
    assert stage_layers(Two(), "fc")[0].parameter == "one.0.0.weight"


def test_stages_without_weights_are_refused():
    class Norms(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Sequential(nn.BatchNorm2d(3))
            self.two = nn.Sequential(nn.BatchNorm2d(3))
            self.fc = nn.Linear(3, 2)

    with pytest.raises(ModelError, match="expected a convolution or a linear layer in the stages of Norms, found none"):
        stage_layers(Norms(), "fc")
