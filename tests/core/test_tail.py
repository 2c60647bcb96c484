"""Running the rest of a network: the same answers, less work, and never a wrong one."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from holdfast.core.channels import rises
from holdfast.core.layers import Layer
from holdfast.core.tail import Tail
from holdfast.core.types import Batch
from reference import delta as oracle


def settled(model):
    """In evaluation mode and float64, nothing in it working in place."""
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return model.double().eval().requires_grad_(False)


def calls_of(model):
    """Counts the runs of every module that holds no other."""
    count = {}
    for path, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _m, _a, _o, path=path: count.update({path: count.get(path, 0) + 1}))
    return count


@pytest.mark.parametrize(
    ("name", "path"),
    [("resnet18", "layer3.0.conv2"), ("vgg11_bn", "features.11"), ("mobilenet_v2", "features.6.conv.2")],
)
def test_a_silenced_channel_is_a_zeroed_filter(name, path):
    torch.manual_seed(1)
    model = settled(torchvision.models.get_model(name, num_classes=5))
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    tail = Tail(model, path, lambda: model(x))
    assert torch.equal(tail(), tail.intact)
    for c in (0, 3):
        damaged = copy.deepcopy(model)
        layer = damaged.get_submodule(path)
        layer.weight[c] = 0
        if layer.bias is not None:
            layer.bias[c] = 0
        kept = tail.output[:, c].clone()
        tail.output[:, c] = 0
        torch.testing.assert_close(tail(), damaged(x), rtol=1e-10, atol=1e-12)
        tail.output[:, c] = kept
    assert torch.equal(tail(), model(x))
    assert not any("forward" in vars(module) for module in model.modules())


def test_what_ran_before_is_not_computed_again():
    model = settled(torchvision.models.resnet18(num_classes=5))
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    tail = Tail(model, "layer4.1.conv2", lambda: model(x))
    count = calls_of(model)
    tail()
    assert "layer1.0.conv1" not in count  # its stage's output was handed out whole
    assert count["layer4.1.bn2"] == 1
    assert count["fc"] == 1


class Odd(nn.Module):
    """Overwrites what the module before the tapped one gave."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        z = self.first(x)
        out = self.second(torch.tanh(z))
        z += out
        return self.head(z)


def test_where_keeping_would_change_the_answer_everything_is_computed():
    torch.manual_seed(0)
    model = settled(Odd())
    x, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    tail = Tail(model, "second", lambda: model(x))
    assert torch.equal(tail(), tail.intact)
    found = rises(model, Layer("second"), Batch(x, y))
    wanted = oracle.rises(model, "second", [(x, y)])
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-9, atol=1e-14)


def test_the_networks_own_forward_comes_back_after_an_error():
    model = settled(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    fail = []

    def run():
        if fail:
            raise RuntimeError("no")
        return model(torch.zeros(1, 2, dtype=torch.float64))

    tail = Tail(model, "1", run)
    fail.append(1)
    with pytest.raises(RuntimeError, match="no"):
        tail()
    assert not any("forward" in vars(module) for module in model.modules())
