"""Source pictures beside the target's, from one command."""

import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import holdfast
from holdfast.core.errors import DataError, UsageError
from holdfast.core.streams import Reader
from holdfast.data.augment import EvalTransform, normalise
from holdfast.data.cache import load_image
from holdfast.train.fit import rehearse
from holdfast.train.plan import make_plan
from holdfast.train.settings import Settings
from holdfast.train.source import Source

from .test_resume import curve, cut_short, figures, weights

CLASSES = 4


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """Four classes of five noisy pictures, as the train part beside a test part that must not be read."""
    root = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(1)
    for part, count in (("train", 5), ("test", 2)):
        for label in range(CLASSES):
            (root / part / f"c{label}").mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(60 * label, 60 * label + 60, (36, 44, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / f"c{label}" / f"{number}.png")
    return root


@pytest.fixture
def joint(tiny, source, tmp_path):
    """Settings of a run with source pictures, from weights with a head of their classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        save_file(timm.create_model("test_resnet", num_classes=CLASSES).state_dict(), tmp_path / "weights.safetensors")
    pre = {"pretrained": True, "weights": tmp_path / "weights.safetensors"}
    return tiny | pre | {"source": source, "method": "joint_train(lam=0.5)"}


@pytest.mark.parametrize("change", [{}, {"cache": "disk", "accumulate": 2}, {"workers": 1}])
def test_a_resumed_run_ends_at_the_same_bits(joint, tmp_path, monkeypatch, change):
    whole = holdfast.fit(**{**joint, **change, "out": tmp_path / "whole"})
    cut_short(monkeypatch, {**joint, **change}, after=2)
    resumed = holdfast.fit(**{**joint, **change})
    assert weights(resumed) == weights(whole)
    assert figures(resumed) == figures(whole)
    assert curve(resumed) == curve(whole)
    assert weights(whole) != weights(holdfast.fit(**{**joint, **change, "method": "plain", "out": tmp_path / "plain"}))


def stream_of(settings, tmp_path):
    plan = make_plan(Settings.of(**settings))
    source = Source(plan.source, plan.built.preprocessing, plan.settings, tmp_path / "cache")
    source.open()
    return plan, source.stream


def test_the_train_part_is_read_and_augmented_as_the_targets(joint, tmp_path):
    plan, stream = stream_of(joint, tmp_path)
    assert len(stream) == 20
    assert stream.classes == CLASSES
    p = plan.built.preprocessing
    x, y = stream.still[7]
    whole = load_image(joint["source"] / plan.source.parts["train"][7].path, round(p.size / p.crop))
    assert torch.equal(x, normalise(EvalTransform(p.size, p.crop)(whole), p.mean, p.std))
    assert y == 1
    looks = [Reader(stream, seed, "source").take(20)[0] for seed in (0, 0, 1)]
    assert torch.equal(looks[0], looks[1])
    assert len(torch.cat([looks[0], looks[2]]).unique(dim=0)) == 40
    _, bare = stream_of(joint | {"augment": False}, tmp_path)
    assert torch.equal(bare.data[7][0], x)


def test_a_rehearsal_says_what_is_read_and_decodes_nothing(joint, tmp_path):
    lines = rehearse(Settings.of(**joint, strict=True))
    assert any(line.startswith("source ") and line.endswith("4 classes, pictures: 20") for line in lines)
    assert any("of the source head" in line and "20 source samples" in line for line in lines)
    assert not joint["out"].exists()


def test_a_folder_that_nobody_asks_for_is_not_read(joint):
    lines = rehearse(Settings.of(**joint | {"method": "ptr", "source": "/nowhere"}))
    assert "source     /nowhere: not read, for no method of ptr trains on it" in lines


def test_a_missing_folder_is_asked_for_before_anything_is_read(joint):
    with pytest.raises(UsageError, match=r"joint_train trains on labelled samples .*--source FOLDER"):
        make_plan(Settings.of(**joint | {"method": "dtnh(joint_train)", "source": None, "data": "/nowhere"}))


def test_another_number_of_classes_is_refused_by_count(joint, tmp_path):
    shutil.copytree(joint["source"] / "train", tmp_path / "fewer")
    shutil.rmtree(tmp_path / "fewer" / "c3")
    with pytest.raises(UsageError, match="source head has 4 classes, the source data 3"):
        rehearse(Settings.of(**joint | {"source": tmp_path / "fewer"}))


def test_weights_without_a_head_cannot_teach_the_source_classes(joint):
    with pytest.raises(UsageError, match="pre-trained network's own head"):
        rehearse(Settings.of(**joint | {"weights": None, "pretrained": False}))


def test_source_pictures_that_have_changed_stop_a_resume(joint, source, tmp_path, monkeypatch):
    mine = joint | {"source": tmp_path / "mine"}
    shutil.copytree(source, tmp_path / "mine")
    cut_short(monkeypatch, mine, after=1)
    (tmp_path / "mine" / "train" / "c0" / "0.png").unlink()
    with pytest.raises(DataError, match="mine have changed since"):
        holdfast.fit(**mine)
