import json
import shutil

import pytest
import torch

from holdfast.data.augment import TenCrop, normalise
from holdfast.data.cache import load_image
from holdfast.train.evaluate import evaluate
from holdfast.train.labelled import part_of_run
from holdfast.train.loaded import load_run

from .conftest import contents, paint

MEASURES = ("accuracy", "mean_class_accuracy", "nll", "ece")


@pytest.fixture
def run_of_mine(trained, tmp_path):
    """A copy of the finished run that a test may spoil."""
    return shutil.copytree(trained[0], tmp_path / "copy")


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_runs_own_pictures_give_its_own_figures(holdfast, trained, part):
    run, photos = trained
    before = contents(run)
    shown = json.loads(holdfast("evaluate", run, "--part", part, "--json").out)
    written = json.loads((run / "result.json").read_text())
    assert {m: shown[m] for m in MEASURES} == pytest.approx({m: written[f"{part}.{m}"] for m in MEASURES}, abs=1e-5)
    assert shown["images"] == 6
    assert shown["data"] == str(photos)
    assert contents(run) == before


def test_the_table_names_part_and_figures(holdfast, trained):
    done = holdfast("evaluate", trained[0])
    figures = json.loads(holdfast("evaluate", trained[0], "--json").out)
    assert done.out.startswith("6 pictures: test part of ")
    assert f"{100 * figures['accuracy']:.2f} %" in done.out
    assert f"{figures['nll']:.4f}" in done.out


def test_another_folder_is_taken_whole(holdfast, trained, tmp_path):
    data = paint(tmp_path / "new", counts=4, seed=9)
    shown = json.loads(holdfast("evaluate", trained[0], data, "--json").out)
    assert (shown["images"], shown["part"]) == (12, None)


def test_the_classes_keep_the_runs_order(holdfast, trained, tmp_path):
    """Pictures under the name of another class must count as wrong."""
    data = paint(tmp_path / "new", counts=6, seed=9)
    right = json.loads(holdfast("evaluate", trained[0], data, "--json").out)["accuracy"]
    (data / "red").rename(data / "held")
    (data / "blue").rename(data / "red")
    (data / "held").rename(data / "blue")
    swapped = json.loads(holdfast("evaluate", trained[0], data, "--json").out)["accuracy"]
    assert right > 0.5
    assert swapped < right


def test_a_folder_with_parts_gives_its_test_part(holdfast, trained, tmp_path):
    for part, count in (("train", 3), ("validation", 2), ("test", 1)):
        paint(tmp_path / "split" / part, counts=count)
    shown = json.loads(holdfast("evaluate", trained[0], tmp_path / "split", "--json").out)
    assert (shown["images"], shown["part"]) == (3, "test")
    shown = json.loads(holdfast("evaluate", trained[0], tmp_path / "split", "--part", "val", "--json").out)
    assert (shown["images"], shown["part"]) == (6, "val")


def test_ten_crops_are_the_mean_of_their_probabilities(trained):
    run = load_run(trained[0])
    pictures = part_of_run(run.folder, "test")
    p = run.preprocessing
    crops = TenCrop(p.size, p.crop)
    found = evaluate(run, pictures, ten_crop=True, device="cpu").log_probabilities
    for sample, log_p in zip(pictures.samples, found, strict=True):
        picture = load_image(pictures.root / sample.path, round(p.size / p.crop))
        with torch.no_grad():
            wanted = run.model(normalise(crops(picture), p.mean, p.std)).softmax(1).mean(0).log()
        torch.testing.assert_close(log_p, wanted, rtol=1e-5, atol=1e-4)
    centre = evaluate(run, pictures, device="cpu").log_probabilities
    assert not torch.allclose(found, centre)


def missing_class(data):
    shutil.rmtree(data / "red")
    return "class 'red' of the run has no folder"


def extra_class(data):
    shutil.copytree(data / "red", data / "pink")
    return "class 'pink'"


def empty_class(data):
    for file in (data / "red").iterdir():
        file.write_bytes(b"")
    return "class 'red'"


def gone(data):
    shutil.rmtree(data)
    return "does not exist"


@pytest.mark.parametrize("spoil", [missing_class, extra_class, empty_class, gone])
def test_a_folder_that_does_not_fit(holdfast, trained, tmp_path, spoil):
    data = paint(tmp_path / "new", counts=2)
    said = spoil(data)
    done = holdfast("evaluate", trained[0], data)
    assert done.code == 2
    assert said in done.error
    assert done.out == ""


def test_unreadable_pictures_are_named_and_left_out(holdfast, trained, tmp_path):
    data = paint(tmp_path / "new", counts=2)
    (data / "red" / "broken.png").write_text("no picture")
    done = holdfast("evaluate", trained[0], data, "--json")
    assert "red/broken.png" in done.error
    assert (json.loads(done.out)["images"], json.loads(done.out)["skipped"]) == (6, 1)
    strict = holdfast("evaluate", trained[0], data, "--strict")
    assert (strict.code, strict.out) == (2, "")
    assert "red/broken.png" in strict.error


def test_pictures_that_changed_since_are_not_passed_off(holdfast, run_of_mine, tmp_path):
    split = run_of_mine / "split.json"
    content = json.loads(split.read_text())
    moved = shutil.copytree(content["root"], tmp_path / "photos")
    split.write_text(json.dumps({**content, "root": str(moved)}))
    assert holdfast("evaluate", run_of_mine).code == 0
    victim = moved / content["parts"]["test"][0]["path"]
    victim.write_bytes(victim.read_bytes() + b"\0")
    assert f"{victim} has changed" in holdfast("evaluate", run_of_mine).error
    victim.unlink()
    done = holdfast("evaluate", run_of_mine)
    assert done.code == 2
    assert str(victim) in done.error
    assert "DATA" in done.error


def no_such_folder(run):
    shutil.rmtree(run)


def unfinished(run):
    (run / "result.json").unlink()


def no_run_at_all(run):
    for file in ("result.json", "settings.yaml"):
        (run / file).unlink()


def no_weights(run):
    (run / "model.safetensors").unlink()


def cut_weights(run):
    file = run / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])


def other_width(run):
    file = run / "preprocessing.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "options": {"num_classes": 7}}))


def no_preprocessing(run):
    (run / "preprocessing.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_such_folder, "no such run folder"),
        (unfinished, "unfinished"),
        (no_run_at_all, "no run"),
        (no_weights, "model.safetensors"),
        (cut_weights, "model.safetensors"),
        (other_width, "does not fit"),
        (no_preprocessing, "preprocessing.json"),
    ],
)
def test_a_run_that_cannot_be_used(holdfast, run_of_mine, spoil, said):
    spoil(run_of_mine)
    done = holdfast("evaluate", run_of_mine)
    assert done.code == 2
    assert said in done.error


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--part", "tset"], "'tset'"), (["--device", "cuda:99"], "cuda:99"), (["--device", "x"], "'x'")],
)
def test_values_that_cannot_be_used(holdfast, trained, words, said):
    done = holdfast("evaluate", trained[0], *words)
    assert done.code == 2
    assert said in done.error


def test_a_part_that_the_run_lacks(holdfast, train, photos, tmp_path):
    assert train(photos, "--test-fraction", 0).code == 0
    done = holdfast("evaluate", tmp_path / "run")
    assert done.code == 2
    assert "--part" in done.error
    assert holdfast("evaluate", tmp_path / "run", "--part", "val").code == 0
