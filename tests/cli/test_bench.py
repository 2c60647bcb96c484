import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

RECIPE = """
title: Two ways
data: {photos: {data: photos}}
models: {tiny: {model: "timm:test_resnet"}}
methods:
  plain: {method: plain}
  l2: {method: "l2(alpha=0.1)"}
seeds: 2
settings: {pretrained: false, image_size: 32, epochs: 2, batch_size: 6, bn: train}
"""


@pytest.fixture
def recipe(photos, tmp_path):
    """A recipe of four runs of a second each."""
    file = tmp_path / "two.yaml"
    file.write_text(RECIPE)
    return file


def test_list_names_every_recipe(holdfast):
    done = holdfast("bench", "list")
    assert done.code == 0
    for name in ("flowers17-mini", "li2018-figure3", "li2020-table1", "wan2019-table2", "zhong2020-table5"):
        assert name in done.out


def test_show_says_what_is_compared_and_printed(holdfast):
    done = holdfast("bench", "show", "wan2019-table2")
    assert done.code == 0
    assert "method     l2_sp: l2_sp@wan2019(alpha={alpha}); alpha in [0.001, 0.01, 0.1, 1.0]" in done.out
    assert "published  plain, caltech256: 82.68 ± 0.20 accuracy" in done.out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("zhong2020-table1", "published  ptr_smooth_l1, cub200: gain +3.05 ± 0.39, 12.23 % of the errors avoided"),
        (
            "zhong2020-table1",
            "network    vgg16: torchvision:vgg16, from ImageNet, weight_decay: 0.0005, drop_rate: 0.5",
        ),
        ("zhong2020-table2", "published  pc, cub200/vgg16: 76.5 accuracy, gain +3.2 over 73.3, quoted"),
        (
            "zhong2020-table2",
            "method     joint_train: joint_train; values of plain; source: imagenet; in cub200/vgg16",
        ),
        ("wan2019-table4", "mit67: 76.74 ± 0.26 accuracy ? (the deviation is printed as 026)"),
        ("wan2019-table3", "from Places365, itself started from ImageNet, weights/resnet18-places365.safetensors"),
        ("wan2019-table2", "data       cifar10: cifar10, iterations: 20000 (20 000 iterations"),
        ("li2018-table2", "method     reference: not run; in "),
        ("li2018-table2", "training   transform: li2018, image_size: 224, bn: train, batch_size: 64"),
        ("li2018-table2", "note       Penalties act on convolution and linear weights alone"),
        ("li2018-table4", "not run    holdfast trains classifiers"),
        ("li2018-figure1", "printed    li2018, Figure 1 (the points of its curves"),
    ],
)
def test_show_leaves_nothing_out(holdfast, name, said):
    done = holdfast("bench", "show", name)
    assert done.code == 0
    assert said in done.out


def test_show_as_json(holdfast):
    shown = json.loads(holdfast("bench", "show", "flowers17-mini", "--json").out)
    assert shown["name"] == "flowers17-mini"
    assert list(shown["methods"]) == ["plain", "l2_sp", "ptr", "rifle", "dtnh_l2_sp"]


def test_a_rehearsal_lists_the_runs_and_does_none(holdfast, recipe, tmp_path):
    done = holdfast("bench", "run", recipe, "--data-root", tmp_path, "--out", tmp_path / "out", "--dry-run")
    assert done.code == 0
    assert [line.split()[1:3] for line in done.out.splitlines()] == [["to", "do"]] * 4
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "nothing"), "no recipe 'nothing'"),
        (("run", "flowers17-mini", "--executor", "cloud"), "expected --executor local or ray, got 'cloud'"),
        (("run", "flowers17-mini", "--gpus", "0.5"), "--address and --gpus are Ray's; add --executor ray"),
        (("run", "flowers17-mini", "--scale", "tiny"), "expected --scale full or mini, got 'tiny'"),
        (("run", "flowers17-mini", "--data-root", "nowhere"), "no column can be run here: no folder"),
        (("run", "flowers17-mini", "--only", "a b"), "--only 'a b' has 'b' where"),
        (("run", "flowers17-mini", "--seeds", "0"), "Invalid value for '--seeds'"),
        (("table", "flowers17-mini", "--format", "xls"), "expected --format md, csv, latex, json, got 'xls'"),
        (("tabel", "x"), "No such command 'tabel'"),
        (("repeat", "nowhere"), "nowhere does not exist; expected what 'holdfast bench run RECIPE' writes there"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(holdfast, words, said):
    done = holdfast("bench", *words)
    assert done.code == 2
    assert said in done.error


def test_a_method_that_does_not_exist_is_refused_before_any_run(holdfast, recipe, tmp_path):
    recipe.write_text(RECIPE.replace('"l2(alpha=0.1)"', "l3"))
    done = holdfast("bench", "run", recipe, "--data-root", tmp_path, "--out", tmp_path / "out")
    assert done.code == 2
    assert "methods.l2: unknown method 'l3'" in done.error
    assert not (tmp_path / "out" / "runs").exists()


def test_a_table_before_any_run(holdfast, recipe, tmp_path):
    done = holdfast("bench", "table", recipe, "--out", tmp_path / "out")
    assert done.code == 0
    assert "| photos | plain | 0 of 2* |" in done.out


@pytest.mark.slow
def test_runs_and_table_with_a_worker_killed_half_way(holdfast, recipe, tmp_path):
    command = [sys.executable, "-m", "holdfast", "bench", "run", recipe, "--data-root", tmp_path, "--out"]
    started = subprocess.Popen(
        [*map(str, command), str(tmp_path / "out"), "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    claims, until = tmp_path / "out" / "claims", time.monotonic() + 120
    while not list(claims.glob("[0-9a-f]*")) and time.monotonic() < until:
        time.sleep(0.02)
    owner = json.loads(next(claims.glob("[0-9a-f]*")).read_text())
    os.kill(owner["pid"], signal.SIGKILL)
    out, err = started.communicate(timeout=300)
    assert started.returncode == 0, err
    assert out.decode().splitlines() == ["4 of 4 runs done"]
    found = json.loads(holdfast("bench", "table", recipe, "--out", tmp_path / "out", "--format", "json").out)
    assert [(cell["row"], cell["runs"], cell["asked"]) for cell in found["cells"]] == [("plain", 2, 2), ("l2", 2, 2)]
    assert list((tmp_path / "out" / "work").iterdir()) == []
    again = holdfast("bench", "run", recipe, "--data-root", tmp_path, "--out", tmp_path / "out")
    assert (again.code, again.out) == (0, "4 of 4 runs done\n")


@pytest.mark.slow
def test_failures_are_rows_with_a_reason_and_can_be_tried_again(holdfast, recipe, tmp_path):
    recipe.write_text(RECIPE.replace("seeds: 2", "seeds: 1").replace("alpha=0.1", "alpha=1e30"))
    words = ("bench", "run", recipe, "--data-root", tmp_path, "--out", tmp_path / "out", "--workers", 1)
    done = holdfast(*words)
    assert done.code == 1
    assert done.out == "1 of 2 runs done, 1 failed\n"
    assert "failed: l2, photos: the loss is not finite at step" in done.err
    assert holdfast(*words).code == 1
    assert len(list((tmp_path / "out" / "failed").iterdir())) == 1
    began = time.time()
    assert holdfast(*words, "--retry-failed").code == 1
    (failed,) = (tmp_path / "out" / "failed").iterdir()
    assert json.loads(failed.read_text())["began"] >= began - 1
    assert "1 of the runs failed" in holdfast("bench", "table", recipe, "--out", tmp_path / "out").out


@pytest.mark.slow
def test_an_interruption_leaves_what_is_done_and_ends_the_workers(recipe, tmp_path):
    command = [sys.executable, "-m", "holdfast", "bench", "run", recipe, "--data-root", tmp_path, "--out"]
    started = subprocess.Popen(
        [*map(str, command), str(tmp_path / "out"), "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    claims, until = tmp_path / "out" / "claims", time.monotonic() + 120
    while not list(claims.glob("[0-9a-f]*")) and time.monotonic() < until:
        time.sleep(0.02)
    worker = json.loads(next(claims.glob("[0-9a-f]*")).read_text())["pid"]
    started.send_signal(signal.SIGTERM)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130
    assert err.decode().splitlines()[-1].startswith("interrupted: what is done is in")
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert list(claims.iterdir()) == []


@pytest.mark.slow
def test_runs_are_repeated_to_the_last_digit(holdfast, recipe, tmp_path):
    out = tmp_path / "out"
    assert (
        holdfast("bench", "run", recipe, "--data-root", tmp_path, "--out", out, "--seeds", 1, "--workers", 1).code == 0
    )
    words = ("bench", "repeat", out, "--data-root", tmp_path, "--only", "l2")
    done = holdfast(*words, "--out", tmp_path / "made" / "again.json")
    assert done.code == 0, done.err
    line, last = done.out.splitlines()
    assert line.startswith("photos, l2, seed 0: accuracy ")
    assert re.search(r", the same in all figures; \d+ s$", line)
    (again,) = json.loads((tmp_path / "made" / "again.json").read_text())["runs"]
    assert (again["row"], again["seed"], again["differing"]) == ("l2", 0, [])
    assert again["after"]["test.accuracy"] == again["before"]["test.accuracy"]
    assert last == "1 of 1 runs give the same figures to the last digit"
    file = next(f for f in (out / "runs").iterdir() if json.loads(f.read_text())["row"] == "l2")
    content = json.loads(file.read_text())
    content["figures"] |= {"test.accuracy": 2.0, "versions.torch": "1.0"}
    file.write_text(json.dumps(content))
    done = holdfast(*words)
    assert done.code == 1
    assert "written down 2.000000; different: test.accuracy" in done.out
    assert "0 of 1 runs give the same figures" in done.out
    assert "in place of 1.0" in done.out.splitlines()[-1]
