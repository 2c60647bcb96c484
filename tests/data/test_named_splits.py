"""Portions and validation: nested, by name and seed alone; and the same text for a folder of the user's."""

import hashlib
from pathlib import Path

import pytest

from holdfast.core.errors import DataError, UsageError
from holdfast.data.named import catalogue as facts
from holdfast.data.named.dataset import open_named
from holdfast.data.named.parts import checksum, hold_out, take
from holdfast.data.portion import Portion, split_portion
from holdfast.data.source import find_pictures

from . import miniatures
from .conftest import MakeFolder

CLASSES = ("ant", "bee")


def whole(counts=(20, 41)):
    train = [(f"{name}/{k:03}.jpg", label) for label, name in enumerate(CLASSES) for k in range(counts[label])]
    return {"train": train, "test": [("t.jpg", 0), ("u.jpg", 1)]}


def per_class(pairs):
    return tuple(sum(label == k for _, label in pairs) for k in (0, 1))


@pytest.mark.parametrize(
    ("text", "portion"),
    [
        ("cub200@15%", Portion(percent=15)),
        ("cub200@2.5%", Portion(percent=2.5)),
        ("photos/mine@5-per-class", Portion(per_class=5)),
        ("a@b@50%", Portion(percent=50)),
        ("cub200", None),
    ],
)
def test_a_portion_is_read(text, portion):
    name, found = split_portion(text)
    assert found == portion
    assert text == (f"{name}@{portion}" if portion else name)


@pytest.mark.parametrize("text", ["cub200@", "cub200@15", "cub200@0%", "cub200@101%", "cub200@0-per-class", "x@-5%"])
def test_a_portion_that_cannot_be_is_refused(text):
    with pytest.raises(UsageError, match="expected NAME@P%"):
        split_portion(text)


def test_portions_are_nested_and_counted_before_validation_is_held_out():
    parts = hold_out(whole(), 0.1, CLASSES, seed=0)
    assert (per_class(parts["val"]), per_class(parts["train"])) == ((2, 4), (18, 37))
    shares = {
        percent: take(parts, whole(), Portion(percent=percent), CLASSES, seed=0)["train"] for percent in (15, 30, 50)
    }
    assert [per_class(pairs) for pairs in shares.values()] == [(3, 6), (6, 12), (10, 20)]
    assert set(shares[15]) < set(shares[30]) < set(shares[50]) < set(parts["train"])
    one, five = (take(parts, whole(), Portion(per_class=k), CLASSES, seed=0)["train"] for k in (1, 5))
    assert (per_class(one), per_class(five)) == ((1, 1), (5, 5))
    assert set(one) < set(five) < set(shares[50])
    assert take(parts, whole(), Portion(percent=1), CLASSES, seed=0)["train"] == one  # at least one of each class


def test_validation_is_the_same_for_every_portion_and_for_another_order_of_the_list():
    first = hold_out(whole(), 0.2, CLASSES, seed=0)
    turned = {part: pairs[::-1] for part, pairs in whole().items()}
    assert hold_out(turned, 0.2, CLASSES, seed=0) == {**first, "test": turned["test"]}
    assert take(first, whole(), Portion(percent=15), CLASSES, seed=0)["val"] == first["val"]
    assert hold_out(whole(), 0.2, CLASSES, seed=1)["val"] != first["val"]
    assert hold_out(whole(), 0, CLASSES, seed=0) == whole()
    assert hold_out(first, 0.5, CLASSES, seed=0) == first
    # a class does not change another one's draw
    assert [p for p in hold_out(whole((20, 5)), 0.2, CLASSES, seed=0)["val"] if not p[1]] == [
        p for p in first["val"] if not p[1]
    ]


def test_the_draw_is_the_order_of_a_hash_by_hand():
    paths = [path for path, label in whole()["train"] if label == 0]
    order = sorted(paths, key=lambda path: hashlib.sha256(f"val/7/{path}".encode()).hexdigest())
    assert {path for path, label in hold_out(whole(), 0.2, CLASSES, seed=7)["val"] if label == 0} == set(order[:4])


def test_more_than_there_is_cannot_be_asked_for():
    parts = hold_out(whole(), 0.2, CLASSES, seed=0)
    with pytest.raises(DataError, match=r"class 'ant': @90% asks for 18 .* 16 of 20 are left beside validation"):
        take(parts, whole(), Portion(percent=90), CLASSES, seed=0)
    with pytest.raises(DataError, match="@17-per-class asks for 17"):
        take(parts, whole(), Portion(per_class=17), CLASSES, seed=0)


def test_the_checksum_is_of_part_class_and_path():
    lines = ["test\tant\tt.jpg", "test\tbee\tu.jpg", "train\tant\ta.jpg"]
    parts = {"train": [("a.jpg", 0)], "test": [("u.jpg", 1), ("t.jpg", 0)]}
    assert checksum(CLASSES, parts) == hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.fixture
def cub(tmp_path, monkeypatch):
    """A miniature that the catalogue takes for CUB-200-2011."""
    truth = miniatures.stanford40(tmp_path)
    known = miniatures.small("stanford40", truth)
    monkeypatch.setattr(facts, "catalogue", lambda: {"stanford40": known})
    return tmp_path


def test_a_name_gives_an_index_as_a_folder_does(cub):
    found = find_pictures("stanford40@1-per-class", cub, val_fraction=0.5)
    index = found.index(side=8)
    assert found.classes == 2
    assert index.classes == ("applauding", "blowing_bubbles")
    assert {part: index.counts(part) for part in index.parts} == {"train": (1, 1), "val": (1, 1), "test": (3, 3)}
    assert all((index.root / s.path).is_file() and len(s.digest) == 64 for s in index.samples())
    assert set(index.decoded.images) == {s.digest for s in index.samples()}
    assert any(note.startswith("@1-per-class: 2 of 4") for note in index.notes)


def test_the_runs_seed_does_not_move_a_named_split(tmp_path, monkeypatch):
    truth = miniatures.food101(tmp_path)
    known = miniatures.small("food101", truth)
    monkeypatch.setattr(facts, "catalogue", lambda: {"food101": known})
    first, second = (find_pictures("food101", tmp_path, seed=seed, val_fraction=0.4).index() for seed in (0, 1))
    assert first.parts == second.parts
    within = [
        find_pictures("food101", tmp_path, seed=seed, val_fraction=0.4, val_within=True).index() for seed in range(4)
    ]
    assert len({index.parts["val"] for index in within}) > 1
    assert {frozenset(index.parts["train"] + index.parts["val"]) for index in within} == {
        frozenset(first.parts["train"])
    }
    assert any("of the training pictures in use held out as val by name (seed 3)" in note for note in within[3].notes)


def test_one_picture_cannot_be_shared_with_validation():
    with pytest.raises(DataError, match="class 'bee' has one training picture"):
        hold_out(whole((5, 1)), 0.2, CLASSES, seed=0)


def test_a_broken_picture_of_a_named_set_is_skipped_or_an_error(cub):
    (cub / "stanford40/JPEGImages/applauding_001.jpg").write_bytes(b"no picture")
    index = find_pictures("stanford40", cub, val_fraction=0).index()
    assert [entry.path for entry in index.skipped] == ["stanford40/JPEGImages/applauding_001.jpg"]
    with pytest.raises(DataError, match="cannot be used as pictures"):
        find_pictures("stanford40", cub).index(strict=True)


def test_official_validation_is_left_alone_where_it_is_held_out_of_the_pictures_in_use(tmp_path):
    truth = miniatures.aircraft(tmp_path)
    known = miniatures.small("aircraft", truth)
    own = open_named(known, tmp_path)
    assert [len(own.parts[part]) for part in ("train", "val", "test")] == [4, 4, 4]
    within = open_named(known, tmp_path, val_fraction=0.5, within_seed=0)
    assert sorted(within.parts["train"] + within.parts["val"]) == own.parts["train"]
    assert not set(within.parts["val"]) & set(own.parts["val"])


def test_a_portion_of_a_folder(make_folder: MakeFolder):
    root = make_folder({"cat": 20, "dog": 40})
    indices = {
        text: find_pictures(f"{root}{text}", Path("nowhere")).index()
        for text in ("", "@15%", "@30%", "@50%", "@3-per-class")
    }
    counts = {text: index.counts("train") for text, index in indices.items()}
    assert counts == {"": (12, 24), "@15%": (2, 5), "@30%": (5, 10), "@50%": (8, 16), "@3-per-class": (3, 3)}
    train = {text: set(index.parts["train"]) for text, index in indices.items()}
    assert train["@15%"] < train["@30%"] < train["@50%"] < train[""]
    assert len({index.parts["test"] for index in indices.values()}) == 1
    assert train["@3-per-class"] == set(find_pictures(str(root), root, samples_per_class=3).index().parts["train"])
    with pytest.raises(UsageError, match="both say how many"):
        find_pictures(f"{root}@15%", root, samples_per_class=3)


def test_a_folder_that_is_called_like_a_portion_or_a_data_set(make_folder: MakeFolder, monkeypatch):
    root = make_folder({"cat": 5, "dog": 5}, name="photos@15%")
    assert find_pictures(str(root), root).index().counts("train") == (3, 3)
    assert facts.is_named("cub200")
    assert facts.is_named("cub200@15%")
    assert not facts.is_named("./cub200")
    assert not facts.is_named("photos")
