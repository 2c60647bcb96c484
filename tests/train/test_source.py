"""Source pictures beside the target's, from one command."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import holdfast
from holdfast.core.described import Bank, Described
from holdfast.core.errors import DataError, UsageError
from holdfast.core.streams import Reader, Stream
from holdfast.data.augment import EvalTransform, normalise
from holdfast.data.cache import load_image
from holdfast.functional.histograms import REACH, chosen, gabor_bank
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


ROUNDS = "btfw(k=1, bins=8, every=1, sigma0=2, sigma1=1, filters='both')"


@pytest.mark.parametrize("after", [1, 2])
def test_a_choice_and_its_rounds_come_back_on_resume(joint, tmp_path, monkeypatch, after):
    joint |= {"method": ROUNDS}
    whole = holdfast.fit(**{**joint, "out": tmp_path / "whole"})
    cut_short(monkeypatch, joint, after=after)
    resumed = holdfast.fit(**joint)
    assert weights(resumed) == weights(whole)
    assert curve(resumed) == curve(whole)
    rows = [dict(zip(curve(whole)[0], row, strict=True)) for row in curve(whole)[1:]]
    chosen = [float(row["btfw.chosen"]) for row in rows]
    assert 0 < chosen[0] < chosen[-1] <= 20


def test_the_index_lies_beside_the_cache_and_serves_later_runs(joint, tmp_path, monkeypatch):
    joint |= {"method": ROUNDS, "cache_dir": tmp_path / "cache"}
    first = holdfast.fit(**{**joint, "out": tmp_path / "first"})
    files = {p: p.read_bytes() for p in (tmp_path / "cache").glob("histograms-*/*.pt")}
    assert {p.name for p in files} == {"edges.pt", "00000000.pt"}
    monkeypatch.setattr("holdfast.core.described._write", lambda *_: pytest.fail("described again"))
    again = holdfast.fit(**{**joint, "out": tmp_path / "again"})
    assert weights(again) == weights(first)


DATA = Path(__file__).parents[3] / "shared" / "data"


def photographs(name, part, count):
    """Every so many a picture of a real data set, 96 px wide."""
    found = sorted((DATA / name / part).rglob("*.jpg"))
    picked = found[:: len(found) // count][:count]
    return [normalise(EvalTransform(96)(load_image(p, 110)), (0.5,) * 3, (0.25,) * 3) for p in picked]


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason="no real images: ../shared/data is not beside the checkout")
@pytest.mark.parametrize(("target", "other"), [("flowers17", "clothing"), ("clothing", "flowers17")])
def test_photographs_choose_their_own_kind(target, other):
    """Of two data sets of equal size in one source, each takes its nearest pictures from itself."""
    source = photographs(target, "train", 40) + photographs(other, "train", 40)
    index = Described(Stream([(x, 0) for x in source]), lambda: [Bank(gabor_bank(), 2, REACH)], bins=16)
    asked = index.describe(torch.stack(photographs(target, "test", 100)))
    counts, ks = index.counts(torch.device("cpu")), torch.ones(1, dtype=torch.int64)
    nearest = [int(chosen(one[None], counts, index.weights(), ks).nonzero()) for one in asked]
    assert sum(j < 40 for j in nearest) > 65, "not beyond three deviations of chance"
