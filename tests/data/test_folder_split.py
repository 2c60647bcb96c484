"""The seeded split and the subset: what they depend on, and on what they do not."""

import itertools
import shutil
from pathlib import Path

import pytest

from holdfast.core.errors import DataError, UsageError
from holdfast.data.folder import load_split, save_split, scan

from .conftest import MakeFolder


def digests(index, part):
    return {sample.digest for sample in index.parts[part]}


def test_split_is_stratified_disjoint_and_complete(make_folder: MakeFolder) -> None:
    index = scan(make_folder({"a": 10, "b": 25, "c": 40}), val_fraction=0.2, test_fraction=0.1)
    assert index.counts("val") == (2, 5, 8)
    assert index.counts("test") == (1, 2, 4)
    assert sum(map(len, index.parts.values())) == 75 == len({s.path for s in index.samples()})


def test_every_part_gets_one_of_a_tiny_class(make_folder: MakeFolder) -> None:
    index = scan(make_folder({"a": 3, "b": 3}), val_fraction=0.45, test_fraction=0.45)
    assert {part: index.counts(part) for part in index.parts} == {"train": (1, 1), "val": (1, 1), "test": (1, 1)}


def test_split_depends_on_seed_and_content_not_on_names(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 20, "b": 20})
    other = tmp_path / "renamed"
    for number, file in enumerate(sorted(root.rglob("*.png"), reverse=True)):
        (other / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, other / file.parent.name / f"picture-{number}.png")
    first, again, moved, reseeded = scan(root), scan(root), scan(other), scan(root, seed=1)
    assert first == again
    for part in first.parts:
        assert digests(first, part) == digests(moved, part)
    assert digests(first, "val") != digests(reseeded, "val")


def test_another_class_does_not_change_a_class(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 20, "b": 20})
    before = {s.path for s in scan(root).parts["val"] if s.path.startswith("b/")}
    make_folder({"aa": 7})
    assert {s.path for s in scan(root).parts["val"] if s.path.startswith("b/")} == before


def test_copies_stay_in_one_part(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 12, "b": 12})
    for file in sorted(root.rglob("*.png")):
        shutil.copy(file, file.with_name(f"copy-{file.name}"))
    index = scan(root)
    assert index.counts("val") == (4, 4)
    assert not digests(index, "train") & digests(index, "val")
    assert not digests(index, "train") & digests(index, "test")


def test_subsets_are_nested_and_leave_the_held_out_parts_whole(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 20, "b": 30})
    whole = scan(root)
    subsets = [scan(root, samples_per_class=k) for k in (1, 5, 10)]
    for k, index in zip((1, 5, 10), subsets, strict=True):
        assert index.counts("train") == (k, k)
        assert index.parts["val"] == whole.parts["val"]
        assert index.parts["test"] == whole.parts["test"]
    sets = [digests(index, "train") for index in [*subsets, whole]]
    assert all(small < large for small, large in itertools.pairwise(sets))
    assert digests(scan(root, samples_per_class=5, seed=1), "train") != sets[1]


def test_subset_of_a_given_train_part_depends_on_the_seed(make_folder: MakeFolder) -> None:
    root = make_folder({"train/a": 20, "train/b": 20, "val/a": 1, "val/b": 1})
    first, again, other = (digests(scan(root, samples_per_class=5, seed=seed), "train") for seed in (0, 0, 1))
    assert first == again != other


def test_subset_takes_copies_last(make_folder: MakeFolder) -> None:
    root = make_folder({"train/a": 4, "train/b": 4, "val/a": 1, "val/b": 1})
    for file in sorted((root / "train").rglob("*.png")):
        shutil.copy(file, file.with_name(f"copy-{file.name}"))
    assert len(digests(scan(root, samples_per_class=4), "train")) == 8
    assert scan(root, samples_per_class=7).counts("train") == (7, 7)


def test_subset_larger_than_a_class_names_it(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 20, "b": 10})
    with pytest.raises(DataError, match=r"class 'b' has 6 training picture.*samples_per_class=7"):
        scan(root, samples_per_class=7)
    with pytest.raises(UsageError, match="at least 1"):
        scan(root, samples_per_class=0)


def test_saved_split_comes_back(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 6, "b": 20})
    (root / "a" / "bad.jpg").write_text("bad")
    index = scan(root)
    save_split(index, tmp_path / "run" / "split.json")
    assert load_split(tmp_path / "run" / "split.json", check=True) == index
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["split.json"]
    shutil.move(root, tmp_path / "moved")
    assert load_split(tmp_path / "run" / "split.json", root=tmp_path / "moved", check=True).parts == index.parts


def test_changed_or_missing_pictures_are_found(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 6, "b": 6})
    save_split(scan(root), tmp_path / "split.json")
    (root / "a/000.png").write_bytes((root / "a/001.png").read_bytes())
    with pytest.raises(DataError, match=r"a/000\.png has changed"):
        load_split(tmp_path / "split.json", check=True)
    (root / "a/000.png").unlink()
    with pytest.raises(DataError, match=r"a/000\.png .*cannot be read"):
        load_split(tmp_path / "split.json", check=True)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other"}'])
def test_foreign_split_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(DataError, match="no split that holdfast wrote"):
        load_split(tmp_path / "split.json")
    with pytest.raises(DataError, match="cannot read the split"):
        load_split(tmp_path / "none.json")


def test_interrupted_write_leaves_the_old_file(make_folder: MakeFolder, tmp_path: Path, monkeypatch) -> None:
    index = scan(make_folder({"a": 6, "b": 6}))
    save_split(index, tmp_path / "split.json")
    before = (tmp_path / "split.json").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        save_split(scan(index.root, seed=3), tmp_path / "split.json")
    assert (tmp_path / "split.json").read_bytes() == before
    assert not list(tmp_path.glob(".split*"))


def test_validation_within_the_pictures_in_use(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cat": 10, "train/dog": 10, "val/cat": 3, "val/dog": 3, "test/cat": 2, "test/dog": 2})
    whole = scan(root, samples_per_class=5, seed=3)
    within = scan(root, samples_per_class=5, seed=3, val_within=True, val_fraction=0.4)
    assert {part: len(samples) for part, samples in within.parts.items()} == {"train": 6, "val": 4, "test": 4}
    assert {*within.parts["train"], *within.parts["val"]} == set(whole.parts["train"])
    assert within.parts["test"] == whole.parts["test"]
    assert any("of the training pictures in use held out as val (seed 3)" in note for note in within.notes)


def test_one_test_part_for_many_subsets(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 20, "dog": 20})
    first, second = (scan(root, seed=seed, split_seed=0, samples_per_class=5) for seed in (1, 2))
    assert first.parts["test"] == second.parts["test"] == scan(root, seed=0).parts["test"]
    assert first.parts["train"] != second.parts["train"]
    assert scan(root, seed=1).parts["test"] != first.parts["test"]
    chosen_on = scan(root, seed=1000, split_seed=0, val_within=True)
    assert chosen_on.parts["test"] == scan(root, seed=5, split_seed=0, val_within=True).parts["test"]
    assert not {*chosen_on.parts["train"], *chosen_on.parts["val"]} & set(chosen_on.parts["test"])
