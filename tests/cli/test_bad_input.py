"""What people really give it: one line, exit code 2, and nothing lost."""

import json
import pickle
import resource
import shutil
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from .conftest import contents, paint


def no_folder(photos):
    return photos / "nowhere"


def a_file(photos):
    return photos / "blue" / "0.png"


def an_empty_folder(photos):
    empty = photos / "blue" / "empty"
    empty.mkdir()
    return empty


def pictures_without_classes(photos):
    return photos / "blue"


def an_empty_class(photos):
    (photos / "none").mkdir()
    return photos


def one_class(photos):
    shutil.rmtree(photos / "blue")
    shutil.rmtree(photos / "red")
    return photos


def nothing_readable(photos):
    for file in photos.rglob("*.png"):
        file.write_bytes(b"")
    return photos


def a_class_of_broken_files(photos):
    for file in (photos / "red").iterdir():
        file.write_text("no picture")
    return photos


def two_pictures_of_a_class(photos):
    for file in list((photos / "red").iterdir())[2:]:
        file.unlink()
    return photos


def split_with_missing_class(photos):
    for part in ("train", "val", "test"):
        shutil.copytree(photos, photos.parent / "split" / part)
    shutil.rmtree(photos.parent / "split" / "test" / "red")
    return photos.parent / "split"


def split_with_extra_class(photos):
    for part in ("train", "val", "test"):
        shutil.copytree(photos, photos.parent / "split" / part)
    shutil.copytree(photos / "red", photos.parent / "split" / "val" / "pink")
    return photos.parent / "split"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_folder, "no such folder"),
        (a_file, "is a file"),
        (an_empty_folder, "no class folders"),
        (pictures_without_classes, "no class folders"),
        (an_empty_class, "'none'"),
        (one_class, "only one class"),
        (nothing_readable, "can be read as a picture"),
        (a_class_of_broken_files, "'red'"),
        (two_pictures_of_a_class, "'red'"),
        (split_with_missing_class, "'red'"),
        (split_with_extra_class, "'pink'"),
    ],
)
def test_pictures_that_cannot_be_used(train, photos, tmp_path, spoil, said):
    data = spoil(photos)
    before = contents(tmp_path)
    done = train(data)
    assert done.code == 2
    assert done.error.startswith("error: ")
    assert said in done.error
    assert done.out == ""
    left = contents(tmp_path)
    assert {name: left[name] for name in before} == before
    assert [name for name in left if name not in before] == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method", "ptrr"], "did you mean 'ptr'"),
        (["--method", "l2_sp(alpa=1)"], "did you mean 'alpha'"),
        (["--method", "l2_sp@li2019"], "did you mean 'li2018'"),
        (["--method", "ptr(R=0)"], "R must be > 0, got 0"),
        (["--method", "l2_sp(alpha=-1)"], "alpha must be finite and >= 0"),
        (["--method", "dtnh(ptr)"], "dtnh"),
        (["--method", "l2_sp("], "l2_sp("),
        (["--method", "__import__('os')"], "__import__"),
        (["--model", "timm:resnet5"], "did you mean"),
        (["--model", "keras:resnet50"], "unknown library"),
        (["--val-fraction", "0.9", "--test-fraction", "0.9"], "below 1"),
        (["--samples-per-class", "1000"], "fewer than samples_per_class"),
        (["--accelerator", "cuda", "--devices", "64"], "device"),
        (["--strategy", "nonsense"], "nonsense"),
    ],
)
def test_values_that_cannot_be_used(train, photos, flags, said):
    done = train(photos, *flags)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("error: ")
    assert said in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


class Malicious:
    def __reduce__(self):
        return print, ("executed",)


def of_another_architecture(file):
    save_file({"layers.0.weight": torch.zeros(3, 3)}, file)


def of_another_width(file):
    import timm

    state = timm.create_model("test_resnet").state_dict()
    save_file({name: value.flatten().clone() for name, value in state.items()}, file)


def cut_short(file):
    of_another_width(file)
    file.write_bytes(file.read_bytes()[:1000])


def wants_code(file):
    file.write_bytes(pickle.dumps(OrderedDict(weight=Malicious())))


def not_finite(file):
    import timm

    state = timm.create_model("test_resnet").state_dict()
    state["fc.weight"].fill_(float("nan"))
    save_file(state, file)


def no_file(file):
    pass


@pytest.mark.parametrize(
    ("write", "name", "said"),
    [
        (of_another_architecture, "w.safetensors", "test_resnet"),
        (of_another_width, "w.safetensors", "test_resnet"),
        (cut_short, "w.safetensors", "w.safetensors"),
        (wants_code, "w.pt", "code"),
        (not_finite, "w.safetensors", "NaN"),
        (no_file, "w.safetensors", "no weight file"),
    ],
)
def test_weights_that_cannot_be_used(train, photos, tmp_path, write, name, said):
    write(tmp_path / name)
    done = train(photos, "--weights", tmp_path / name)
    assert done.code == 2
    assert done.error.startswith("error: ")
    assert said in done.error
    assert "executed" not in done.out


def spoil_some(photos):
    """Truncated, zero-byte, no picture, and a stray file: what real folders have."""
    whole = (photos / "blue" / "0.png").read_bytes()
    (photos / "blue" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (photos / "green" / "zero.jpg").write_bytes(b"")
    (photos / "red" / "notes.txt").write_text("to sort")
    (photos / "red" / "Thumbs.db").write_text("litter")
    (photos / "readme.md").write_text("mine")
    return ("blue/truncated.png", "green/zero.jpg", "red/notes.txt")


def test_unreadable_files_are_skipped_with_count_and_paths(train, photos):
    bad = spoil_some(photos)
    done = train(photos)
    assert done.code == 0
    note = next(line for line in done.err.splitlines() if "skipped" in line)
    assert "3 file(s)" in note
    assert all(path in note for path in bad)
    assert "Thumbs.db" not in done.err


def test_unreadable_files_are_an_error_where_strict(train, photos):
    bad = spoil_some(photos)
    done = train(photos, "--strict")
    assert done.code == 2
    assert all(path in done.error for path in bad)


def odd_pictures(folder):
    """Every kind of picture that must be handled, each saved under its own name."""
    rng = np.random.default_rng(3)
    rgb = Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8))
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.convert("P").save(folder / "palette.png")
    Image.fromarray(rng.integers(0, 65535, (40, 30), dtype=np.uint16)).save(folder / "deep.png")
    rgb.convert("RGBA").save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / "rotated.jpg", exif=exif)
    rgb.save(folder / "moving.gif", save_all=True, append_images=[rgb.rotate(90), rgb.rotate(180)])
    rgb.convert("L").save(folder / "grey.webp")
    return sorted(folder.iterdir())


def test_odd_pictures_are_trained_on_and_predicted(train, holdfast, photos, tmp_path):
    before = len(list((photos / "red").iterdir()))
    odd_pictures(photos / "red")
    assert train(photos, "--strict").code == 0
    written = json.loads((tmp_path / "run" / "split.json").read_text())
    assert sum(s["path"].startswith("red/") for part in written["parts"].values() for s in part) == before + 7
    assert holdfast("predict", tmp_path / "run", photos / "red", "--strict").code == 0


def test_copies_across_parts_are_reported(train, photos, tmp_path):
    for seed, part in enumerate(("train", "val", "test")):
        paint(tmp_path / "split" / part, counts=4, seed=seed)
    shutil.copy(tmp_path / "split" / "train" / "red" / "0.png", tmp_path / "split" / "test" / "red" / "again.png")
    done = train(tmp_path / "split", "--dry-run")
    assert done.code == 0
    assert "train/red/0.png" in done.out
    assert "test/red/again.png" in done.out


@pytest.mark.parametrize("put", ["a file", "other things"])
def test_a_folder_that_is_no_run_folder_is_left_alone(train, photos, tmp_path, put):
    if put == "a file":
        (tmp_path / "run").write_text("mine")
    else:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.tex").write_text("mine")
    before = contents(tmp_path)
    done = train(photos)
    assert done.code == 2
    assert "--out" in done.error
    assert contents(tmp_path) == before


def test_a_loss_that_is_not_finite_stops_and_says_where(train, photos, tmp_path):
    done = train(photos, "--lr", "1e30", "--head-lr", "1e30", "--bn", "train", "--epochs", 4)
    last = done.err.splitlines()[-1]
    assert done.code == 2
    assert last.startswith("error: the loss is not finite at step ")
    assert done.out == ""
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_full_disk_loses_nothing(train, photos, tmp_path):
    before = contents(photos)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, unlimited[1]))
    try:
        done = train(photos)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert done.code == 2
    last = done.err.splitlines()[-1]
    assert last.startswith("error: no space left")
    assert done.out == ""
    assert contents(photos) == before
    left = contents(tmp_path / "run")
    assert "result.json" not in left
    assert [name for name in left if name.endswith(".tmp")] == []
    assert train(photos).code == 0
