"""The command in this process, on tiny pictures and a tiny network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holdfast.cli.main import command

CLASSES = ("blue", "green", "red")


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        """The only line of the error stream."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture
def holdfast(capsys, monkeypatch):
    """Run the command in this process, as ``holdfast("train", folder, "--epochs", 2)``."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("HOLDFAST_DEBUG", raising=False)

    def call(*words):
        capsys.readouterr()
        code = command([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return call


def picture(rng, channel, size=(40, 36)):
    """Noise with one strong channel."""
    pixels = rng.integers(0, 100, (size[1], size[0], 3), dtype=np.uint8)
    pixels[..., channel] += 120
    return Image.fromarray(pixels)


def paint(root, counts=10, classes=CLASSES, seed=0):
    """A folder of classes told apart by their strongest channel."""
    rng = np.random.default_rng(seed)
    for channel, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(counts):
            picture(rng, channel % 3).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def photos(tmp_path):
    """A folder of three classes that a test may spoil."""
    return paint(tmp_path / "photos")


TINY = ("--model", "timm:test_resnet", "--no-pretrained", "--image-size", 32, "--threads", 1, "--batch-size", 6,
        "--no-tensorboard", "--epochs", 2)  # fmt: skip


@pytest.fixture
def train(holdfast, tmp_path):
    """``holdfast train DATA`` with a tiny network, into ``tmp_path / "run"``."""

    def call(data, *flags):
        return holdfast("train", data, *TINY, "--out", tmp_path / "run", *flags)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A finished run: its folder and its pictures. Tests leave it as it is."""
    root = tmp_path_factory.mktemp("trained")
    paint(root / "photos")
    words = ["train", root / "photos", *TINY, "--out", root / "run", "--progress", "off"]
    words += ["--bn", "train", "--lr", 0.05, "--head-lr", 0.1, "--epochs", 10]  # enough to learn these classes
    assert command([str(word) for word in words]) == 0
    return root / "run", root / "photos"


def contents(folder: Path):
    """Every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
