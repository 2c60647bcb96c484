"""Folding changes the way, not the function; and leaves alone what it must."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from holdfast.core.fold import fold, foldable
from reference.networks import conv_net, image_batches


def settled(model):
    """In float64 and evaluation mode, with statistics and affine parameters that are not those of the start."""
    gen = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean = torch.randn(module.num_features, generator=gen)
            module.running_var = 0.5 + torch.rand(module.num_features, generator=gen)
            if module.affine:
                module.weight.data = torch.randn(module.num_features, generator=gen)
                module.bias.data = torch.randn(module.num_features, generator=gen)
    return model.double().eval()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "shufflenet_v2_x0_5", "vgg11_bn"])
def test_the_function_stays(name):
    model = settled(torchvision.models.get_model(name, num_classes=5))
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    folded = copy.deepcopy(model)
    pairs = foldable(folded, [x])
    assert len(pairs) > 5
    fold(folded, pairs)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert norms == sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) - len(pairs)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-10, atol=1e-12)


def test_every_batch_norm_of_a_resnet_folds():
    model = torchvision.models.resnet18().eval()
    pairs = foldable(model, [torch.zeros(1, 3, 32, 32)])
    assert ("layer2.0.downsample.0", "layer2.0.downsample.1") in pairs
    assert len(pairs) == 20


class Blocks(nn.Module):
    """A convolution and a batch-norm, put together in the way under test."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.conv, self.other, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.second = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.way(self, x)


def twice(m, x):
    return m.norm(m.conv(m.norm(m.conv(x))))


WAYS = {
    "sequence": (lambda m, x: m.norm(m.conv(x)), True),
    "residual sum around the norm": (lambda m, x: (lambda z: z + m.norm(z))(m.conv(x)), False),
    "another layer reads it": (lambda m, x: (lambda z: m.norm(z) + m.other(z))(m.conv(x)), False),
    "its shape is asked": (lambda m, x: (lambda z: m.norm(z).view(z.shape))(m.conv(x)), False),
    "two norms": (lambda m, x: (lambda z: m.norm(z) + m.second(z))(m.conv(x)), False),
    "joined with itself": (lambda m, x: (lambda z: torch.cat([z, m.norm(z)]))(m.conv(x)), False),
    "changed before": (lambda m, x: m.norm(m.conv(x).mul_(2)), False),
    "both run twice": (twice, False),
    "norm first": (lambda m, x: m.conv(m.norm(x)), False),
}


@pytest.mark.parametrize("name", WAYS)
def test_only_what_nobody_else_reads_is_folded(name):
    way, folds = WAYS[name]
    model = settled(Blocks(way))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    pairs = foldable(model, [x])
    assert pairs == ([("conv", "norm")] if folds else [])
    with torch.no_grad():
        before = model(x)
        fold(model, pairs)
        torch.testing.assert_close(model(x), before, rtol=1e-12, atol=1e-12)


def test_training_norms_hooked_modules_and_replaced_forwards_stay():
    x = image_batches()[0][0]
    assert foldable(conv_net().eval(), [x]) == [("stage1.0", "stage1.1"), ("stage2.0", "stage2.1")]
    model = conv_net()
    model.stage2.eval()
    assert foldable(model, [x]) == [("stage2.0", "stage2.1")]
    model = conv_net().eval()
    model.stage1[0].register_forward_hook(lambda *_: None)
    model.stage2[1].forward = model.stage2[1].forward
    assert foldable(model, [x]) == []
    model = conv_net().eval()
    model.stage1[1] = nn.BatchNorm2d(5, track_running_stats=False).double()
    assert foldable(model, [x]) == [("stage2.0", "stage2.1")]


def test_without_affine_parameters():
    model = settled(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)))
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        before = model(x)
        fold(model, foldable(model, [x]))
        torch.testing.assert_close(model(x), before, rtol=1e-12, atol=1e-12)
