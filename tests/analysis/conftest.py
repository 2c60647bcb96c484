"""The command in this process, and finished runs of a tiny network: one from random weights, one from that one's."""

import shutil

import pytest

from cli.conftest import TINY, holdfast, paint, photos, train, trained  # noqa: F401
from holdfast.cli.main import command
from holdfast.train.export import save_weights
from holdfast.train.loaded import load_run
from holdfast.train.origin import starting_point


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, trained):  # noqa: F811
    """A run that began with the weights of ``trained``, on pictures of two other classes. Tests leave it as it is."""
    root = tmp_path_factory.mktemp("tuned")
    paint(root / "photos", classes=("ash", "birch"), seed=3)
    words = ["train", root / "photos", *TINY, "--out", root / "run", "--progress", "off", "--bn", "train"]
    words += ["--weights", trained[0] / "model.safetensors", "--lr", 0.05, "--epochs", 3]
    words += ["--method", "l2(alpha=3)"]  # pulls the body far from where it was: the source task is forgotten
    assert command([str(word) for word in words]) == 0
    return root / "run"


@pytest.fixture
def untouched(tuned, tmp_path):
    """A finished run whose network is its starting point still."""
    copy = shutil.copytree(tuned, tmp_path / "untouched")
    save_weights(starting_point(load_run(copy)).model, copy / "model.safetensors")
    return copy
