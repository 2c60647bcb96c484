"""Which folders are classes and parts, which files count, and what the errors say."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from holdfast.core.errors import DataError, UsageError
from holdfast.data.folder import class_weights, scan

from .conftest import MakeFolder, paint

PARTED = {"train/cat": 6, "train/dog": 6, "val/cat": 2, "val/dog": 2, "test/cat": 3, "test/dog": 3}


def sizes(index):
    return {part: index.counts(part) for part in index.parts}


def test_three_parts_are_taken_as_they_are(make_folder: MakeFolder) -> None:
    index = scan(make_folder(PARTED))
    assert index.classes == ("cat", "dog")
    assert sizes(index) == {"train": (6, 6), "val": (2, 2), "test": (3, 3)}
    assert all(sample.path.startswith(f"{part}/") for part, samples in index.parts.items() for sample in samples)
    assert index.notes == ()
    assert index.skipped == ()


def test_missing_val_is_held_out_of_train(make_folder: MakeFolder) -> None:
    index = scan(make_folder({k: v for k, v in PARTED.items() if "val" not in k}), val_fraction=0.34)
    assert sizes(index) == {"train": (4, 4), "val": (2, 2), "test": (3, 3)}
    assert {s.path.split("/")[0] for s in index.parts["val"]} == {"train"}
    assert not set(index.parts["val"]) & set(index.parts["train"])
    assert any("no val folder" in note and "34%" in note for note in index.notes)


def test_missing_test_stays_missing_and_is_said(make_folder: MakeFolder) -> None:
    index = scan(make_folder({k: v for k, v in PARTED.items() if "test" not in k}))
    assert sizes(index) == {"train": (6, 6), "val": (2, 2)}
    assert any("no test part" in note for note in index.notes)


def test_class_folders_alone_are_split(make_folder: MakeFolder) -> None:
    index = scan(make_folder({"cat": 10, "dog": 20}))
    assert sizes(index) == {"train": (6, 12), "val": (2, 4), "test": (2, 4)}


def test_train_folder_alone_is_split(make_folder: MakeFolder) -> None:
    index = scan(make_folder({"train/cat": 10, "train/dog": 10}), test_fraction=0)
    assert sizes(index) == {"train": (8, 8), "val": (2, 2)}
    assert index.classes == ("cat", "dog")


def test_a_class_may_be_called_train(make_folder: MakeFolder) -> None:
    index = scan(make_folder({"bus": 5, "plane": 5, "train": 5}))
    assert index.classes == ("bus", "plane", "train")


def test_other_spellings_of_the_parts(make_folder: MakeFolder) -> None:
    index = scan(make_folder({"Train/a": 2, "Train/b": 2, "valid/a": 1, "valid/b": 1, "extra/x": 1}))
    assert sizes(index) == {"train": (2, 2), "val": (1, 1)}
    assert any("no part" in note and "extra" in note for note in index.notes)


def test_two_spellings_of_one_part_are_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(DataError, match=r"two folders for the part 'val': val and valid"):
        scan(make_folder({**PARTED, "valid/cat": 1, "valid/dog": 1}))


def test_nested_folders_litter_and_loose_files(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 4, "cat/indoors/old": 2, "dog": 4, ".git": 1, "__MACOSX": 1})
    for litter in ("cat/Thumbs.db", "cat/.DS_Store", "dog/._000.png", "dog/desktop.ini"):
        (root / litter).write_bytes(b"litter")
    (root / "LICENSE").write_text("text")
    index = scan(root)
    assert index.classes == ("cat", "dog")
    assert len([s for s in index.samples() if s.path.startswith("cat/")]) == 6
    assert any(s.path.startswith("cat/indoors/old/") for s in index.samples())
    assert index.skipped == ()
    assert any("1 file(s) directly in the data folder" in note for note in index.notes)


def test_links_out_of_the_folder_are_not_followed(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    secret = paint(tmp_path / "elsewhere" / "secret.png", 99)
    (root / "cat" / "file.png").symlink_to(secret)
    (root / "cat" / "folder").symlink_to(secret.parent)
    (root / "fox").symlink_to(secret.parent)
    (root / "cat" / "up").symlink_to(root)
    (root / "dog" / "self").symlink_to("self")
    index = scan(root)
    assert index.classes == ("cat", "dog")
    assert len(index.samples()) == 8
    note = next(note for note in index.notes if "links" in note)
    assert all(name in note for name in ("cat/file.png", "cat/folder", "fox", "cat/up"))
    assert [entry.path for entry in index.skipped] == ["dog/self"]


def test_links_within_the_folder_are_followed_without_end(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    (root / "cat" / "more").symlink_to(root / "dog")
    (root / "dog" / "back").symlink_to(root / "cat")
    paths = {s.path for s in scan(root).samples()}
    assert "cat/more/000.png" in paths
    assert "dog/back/000.png" in paths
    assert len(paths) == 16


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "no class folders"),
        ({"cat": 3}, "only one class, 'cat'"),
        ({"cat": 3, "dog": 0}, "class 'dog' is empty: its folder holds no files"),
        ({**PARTED, "val/cat": 0}, "class 'cat' in val is empty"),
        ({k: v for k, v in PARTED.items() if k != "val/dog"}, "class 'dog' is in train but not in val"),
        ({**PARTED, "test/fox": 1}, "class 'fox' is in test but not in train"),
        ({"val/a": 1, "test/a": 1}, "no train folder"),
        ({"train": 3, "val": 3}, "no class folders in .*train"),
        ({"cat": 2, "dog": 9}, "class 'cat' has 2 distinct picture.*at least 3"),
        ({"photos/cat": 3, "photos/dog": 3}, "only one class.*did you mean .*photos/photos"),
    ],
)
def test_unusable_folders(make_folder: MakeFolder, counts: dict[str, int], message: str) -> None:
    root = make_folder(counts)
    root.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=message) as caught:
        scan(root)
    assert "\n" not in str(caught.value)


def test_no_such_folder_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        scan(tmp_path / "missing")
    with pytest.raises(DataError, match="is a file"):
        scan(paint(tmp_path / "a.png", 1))


@pytest.mark.parametrize("fractions", [(0, 0.2), (0.5, 0.5), (1.2, 0), (0.2, -0.1)])
def test_fractions_out_of_range(make_folder: MakeFolder, fractions: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="val_fraction"):
        scan(make_folder({"a": 5, "b": 5}), val_fraction=fractions[0], test_fraction=fractions[1])


def spoil(root: Path) -> list[str]:
    whole = (root / "cat" / "000.png").read_bytes()
    (root / "cat" / "empty.jpg").write_bytes(b"")
    (root / "cat" / "half.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "text.jpg").write_text("no picture")
    os.mkfifo(root / "dog" / "pipe.png")
    return ["cat/empty.jpg", "cat/half.png", "dog/pipe.png", "dog/text.jpg"]


def test_unreadable_files_are_skipped_with_their_reasons(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    spoilt = spoil(root)
    index = scan(root)
    reasons = {entry.path: entry.reason for entry in index.skipped}
    assert sorted(reasons) == spoilt
    assert "0 bytes" in reasons["cat/empty.jpg"]
    assert "truncated" in reasons["cat/half.png"]
    assert "not a picture" in reasons["dog/text.jpg"]
    assert len(index.samples()) == 8
    assert any(note.startswith("4 file(s) skipped") and "cat/half.png" in note for note in index.notes)


def test_strict_makes_an_unreadable_file_an_error(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    assert len(scan(root, strict=True).samples()) == 8
    spoil(root)
    with pytest.raises(DataError, match=r"4 file\(s\) cannot be used as pictures.*cat/half\.png"):
        scan(root, strict=True)


def test_truncated_jpeg_is_found_at_reduced_size(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    Image.effect_noise((400, 400), 60).save(root / "cat" / "big.jpg")
    whole = (root / "cat" / "big.jpg").read_bytes()
    (root / "cat" / "cut.jpg").write_bytes(whole[: int(len(whole) * 0.95)])
    assert [entry.path for entry in scan(root).skipped] == ["cat/cut.jpg"]
    assert [entry.path for entry in scan(root, side=16).skipped] == ["cat/cut.jpg"]


def test_nothing_readable(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_text(f"no {name}")
    with pytest.raises(DataError, match=r"none of the 2 file\(s\)"):
        scan(tmp_path)


def test_class_of_unreadable_files_only(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 4, "dog": 0})
    (root / "dog" / "a.jpg").write_text("no dog")
    with pytest.raises(DataError, match=r"class 'dog' is empty: none of its 1 file"):
        scan(root)


def test_copies_across_parts_are_reported_with_both_paths(make_folder: MakeFolder) -> None:
    root = make_folder(PARTED)
    shutil.copy(root / "train/cat/000.png", root / "val/cat/copy.png")
    shutil.copy(root / "train/dog/001.png", root / "test/dog/copy.png")
    notes = scan(root).notes
    assert "the same picture in train and val: train/cat/000.png and val/cat/copy.png" in notes
    assert "the same picture in train and test: train/dog/001.png and test/dog/copy.png" in notes
    assert len(notes) == 2


def test_one_picture_with_two_labels_is_reported(make_folder: MakeFolder) -> None:
    root = make_folder(PARTED)
    shutil.copy(root / "train/cat/000.png", root / "train/dog/copy.png")
    shutil.copy(root / "train/cat/001.png", root / "train/cat/copy.png")
    assert scan(root).notes == (
        "the same picture labelled 'cat' and 'dog' in train: train/cat/000.png and train/dog/copy.png",
    )


def test_many_copies_are_summed_up(make_folder: MakeFolder) -> None:
    root = make_folder({"train/a": 30, "train/b": 30, "val/b": 1})
    shutil.copytree(root / "train/a", root / "val/a")
    notes = [note for note in scan(root).notes if "same picture" in note or "occur twice" in note]
    assert len(notes) == 21
    assert notes[-1] == "and 10 more pictures that occur twice"


@pytest.mark.parametrize(("large", "noted"), [(5, False), (6, True)])
def test_imbalance_is_noted_from_three_to_one(make_folder: MakeFolder, large: int, noted: bool) -> None:
    index = scan(make_folder({**PARTED, "train/cat": 2, "train/dog": large}))
    assert any("imbalanced" in note and "'dog'" in note for note in index.notes) is noted


def test_class_weights_are_balanced(make_folder: MakeFolder) -> None:
    index = scan(make_folder({**PARTED, "train/cat": 2, "train/dog": 6}))
    torch.testing.assert_close(class_weights(index), torch.tensor([8 / (2 * 2), 8 / (2 * 6)]))


def test_progress_and_known_digests(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    shutil.copy(root / "cat/000.png", root / "cat/copy.png")
    told: list[tuple[int, int]] = []
    index = scan(root, progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 8) for n in range(1, 9)]
    told.clear()
    assert scan(root, known={s.digest for s in index.samples()}, progress=lambda *n: told.append(n)) == index
    assert told == []
