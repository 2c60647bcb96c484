"""Tiny pictures and a tiny network, so that a whole run takes about a second."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Three classes of ten noisy pictures, told apart by their strongest channel."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("blue", "green", "red")):
        (root / name).mkdir()
        for number in range(10):
            pixels = rng.integers(0, 120, (40, 40, 3), dtype=np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def tiny(pictures, tmp_path):
    """Settings of a run of three epochs of three steps."""
    return {
        "data": pictures,
        "model": "timm:test_resnet",
        "pretrained": False,
        "image_size": 32,
        "epochs": 3,
        "batch_size": 6,
        "threads": 1,
        "tensorboard": False,
        "progress": "off",
        "checkpoint_every": 1,
        "out": tmp_path / "run",
    }
