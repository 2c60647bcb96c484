"""Which library a name belongs to."""

from __future__ import annotations

import pytest

from holdfast.core.errors import UsageError
from holdfast.models.names import Resolved, known, resolve


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("resnet18", "timm:resnet18"),
        ("torchvision:resnet18", "torchvision:resnet18"),
        ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("mobilenet_v2", "torchvision:mobilenet_v2"),
        ("mobilenetv2_100", "timm:mobilenetv2_100"),
        ("holdfast:glyphnet", "holdfast:glyphnet"),
        (" resnet18 ", "timm:resnet18"),
    ],
)
def test_resolves(name, full):
    assert str(resolve(name)) == full


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet_18", "did you mean.*resnet18"),
        ("torchvision:mobilenet", "torchvision:mobilenet_v2"),
        ("glyphnet", "unknown model 'glyphnet'"),  # the package's own needs its prefix
        ("keras:resnet50", "unknown library 'keras'"),
        ("qqqqqqqqqqqqqqqq", "list_models"),
        ("", "unknown model ''"),
        ("timm:", "unknown model 'timm:'"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(name, message):
    with pytest.raises(UsageError, match=message):
        resolve(name)


def test_detection_and_segmentation_networks_are_not_classifiers():
    assert "fasterrcnn_resnet50_fpn" not in known("torchvision")
    with pytest.raises(UsageError):
        resolve("torchvision:fcn_resnet50")


def test_resolved_is_a_value():
    assert resolve("resnet18") == Resolved("timm", "resnet18")
