import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from holdfast.core.fisher import FisherSum
from holdfast.core.information import RECORD
from holdfast.core.tensorfile import read_tensors
from holdfast.data.augment import EvalTransform, eval_side, normalise
from holdfast.functional.fisher import chosen_labels, squared_scores_singly
from holdfast.train import fisher as measuring
from holdfast.train.guard import Interrupted
from holdfast.train.loaded import load_run
from holdfast.train.predict import read_pictures

from .conftest import TINY, paint


@pytest.fixture
def measure(holdfast, trained, tmp_path):
    """Run ``holdfast fisher`` with a finished run on its pictures, into ``tmp_path / "F.safetensors"``."""

    def call(*flags, data=trained[1], out=tmp_path / "F.safetensors"):
        return holdfast("fisher", trained[0], data, "--out", out, "--batch-size", 4, *flags)

    return call


@pytest.fixture
def file(tmp_path):
    return tmp_path / "F.safetensors"


def record_of(file):
    return json.loads(read_tensors(file)[1][RECORD])


@pytest.mark.parametrize(("kind", "flags", "labels"), [("exact", (), 1), ("topk", ("--k", 2), 2)])
def test_f_is_that_of_the_centre_crops_at_the_runs_weights(measure, trained, file, kind, flags, labels):
    assert measure("--kind", kind, *flags).code == 0
    run, photos = load_run(trained[0]), sorted(trained[1].rglob("*.png"))
    p = run.preprocessing
    pictures = read_pictures(photos, eval_side(p.size, p.crop))
    x = normalise(torch.stack([EvalTransform(p.size, p.crop)(one) for one in pictures]), p.mean, p.std)

    def log_f(w, inputs):
        return torch.func.functional_call(run.model, w, (inputs,)).log_softmax(-1)

    params = dict(run.model.named_parameters())
    classes, weights = chosen_labels(log_f(params, x).detach(), kind, labels, [])
    wanted = squared_scores_singly(log_f, params, x, classes, weights)
    found, _ = read_tensors(file)
    assert set(wanted) - set(found) == {"fc.weight", "fc.bias"}
    for name, F in found.items():
        scale = wanted[name].max().item() / 30
        torch.testing.assert_close(F, wanted[name] / 30, rtol=1e-3, atol=1e-4 * scale)


def test_the_record_says_how_it_was_made(measure, trained, file):
    shown = json.loads(measure("--json").out)
    record = record_of(file)
    assert shown == {"file": str(file), **record, "finished": False}
    assert (record["model"], record["kind"], record["labels"]) == ("timm:test_resnet", "monte_carlo", 1)
    assert (record["samples"], record["skipped"], record["image_size"]) == (30, [], 32)
    assert (record["data"], record["inputs"]) == (str(trained[1]), "source")
    tensors, _ = read_tensors(file)
    numbers = torch.cat([F.flatten().double() for F in tensors.values()])
    assert record["mean"] == pytest.approx(numbers.mean().item())
    assert record["max"] == pytest.approx(numbers.max().item())
    assert record["versions"]["torch"] == torch.__version__


def test_the_lines_give_the_mean_and_an_alpha(measure, file):
    done = measure()
    mean = record_of(file)["mean"]
    assert f"mean {mean:.3g}, max" in done.out
    assert f"an alpha of {0.1 / mean:.2g} pulls on average as l2_sp(alpha=0.1)" in done.out
    assert "on 30 pictures, 1 label(s) each, monte_carlo; source inputs\n" in done.out
    assert "30/30" in done.err


def test_target_inputs_are_told_by_the_number_of_classes(measure, file, tmp_path):
    done = measure(data=paint(tmp_path / "two", classes=("a", "b"), counts=3))
    assert "target inputs through the source head: not what the paper means" in done.out
    assert record_of(file)["inputs"] == "target"
    file.unlink()
    measure("--inputs", "source", data=tmp_path / "two")
    assert record_of(file)["inputs"] == "source"


def test_once_more_says_that_it_is_finished(measure, file):
    first = measure()
    before = file.read_bytes()
    again = measure("--batch-size", 7)  # which does not matter
    assert again.code == 0
    assert again.out == f"finished already: {file}\n{first.out}"
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--seed", 1), "seed is 0 there and 1 here"),
        (("--kind", "exact"), "kind is monte_carlo there and exact here"),
        (("--draws", 2), "labels is 1 there and 2 here"),
        (("--samples", 12), "pictures is 30 there and 12 here"),
        (("--inputs", "target"), "inputs is source there and target here"),
    ],
)
def test_another_measurement_under_the_same_name_is_refused(measure, file, flags, said):
    measure()
    before = file.read_bytes()
    done = measure(*flags)
    assert done.code == 2
    assert done.error.startswith(f"error: {file} was made otherwise: ")
    assert said in done.error
    assert file.read_bytes() == before


def test_changed_pictures_are_another_measurement(measure, trained, file, tmp_path):
    data = shutil.copytree(trained[1], tmp_path / "photos")
    measure(data=data)
    (data / "red" / "0.png").unlink()
    assert "pictures is 30 there and 29 here" in measure(data=data).error


def dying(monkeypatch, error, after):
    """Let the measurement end with an error at a batch, and be written down after every batch before."""
    add, seen = FisherSum.add, []

    def deadly(self, x):
        seen.append(len(x))
        if len(seen) > after:
            raise error
        add(self, x)

    monkeypatch.setattr(measuring, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(FisherSum, "add", deadly)


def test_an_interrupted_measurement_goes_on_to_the_same_bits(measure, file, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        dying(patch, Interrupted("SIGINT"), 3)
        done = measure()
    assert done.code == 130
    assert done.err.splitlines()[-1].startswith("interrupted: SIGINT after 12 of 30 pictures; the same command goes on")
    assert not file.exists()
    assert "going on after 12 of 30 pictures" in measure().err
    measure(out=tmp_path / "whole.safetensors")
    assert file.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_sums_of_another_measurement_are_not_gone_on_with(measure, file, monkeypatch):
    with monkeypatch.context() as patch:
        dying(patch, Interrupted("SIGTERM"), 2)
        measure()
    done = measure("--seed", 3)
    assert done.code == 2
    assert f"{file}.part was made otherwise: seed is 0 there and 3 here" in done.error


KILLED = """
import os, signal, sys
from holdfast.cli.main import command
from holdfast.core.fisher import FisherSum
from holdfast.train import fisher
fisher.SECONDS_BETWEEN, add, seen = 0.0, FisherSum.add, []
def deadly(self, x):
    seen.append(1)
    if len(seen) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, x)
FisherSum.add = deadly
command(sys.argv[1:])
"""


def test_a_killed_measurement_goes_on_to_the_same_bits(measure, trained, file, tmp_path):
    words = ["fisher", trained[0], trained[1], "--out", file, "--batch-size", 4]
    run = [sys.executable, "-c", KILLED, *map(str, words)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(run, capture_output=True, check=False, env=alone).returncode == -9
    assert json.loads(read_tensors(tmp_path / "F.safetensors.part")[1][RECORD])["position"] == 16
    assert "going on after 16 of 30 pictures" in measure().err
    measure(out=tmp_path / "whole.safetensors")
    # the killed process had one thread, this one may have more: other sums of the same numbers
    ours, whole = read_tensors(file)[0], read_tensors(tmp_path / "whole.safetensors")[0]
    for name, F in whole.items():
        torch.testing.assert_close(ours[name], F, rtol=1e-5, atol=1e-6 * F.max().item())


def test_unreadable_files_are_left_out_and_named(measure, trained, file, tmp_path):
    data = shutil.copytree(trained[1], tmp_path / "photos")
    (data / "blue" / "3.png").write_bytes(b"no picture")
    done = measure(data=data)
    assert "1 file(s) could not be read, such as blue/3.png" in done.out
    assert (record_of(file)["samples"], record_of(file)["skipped"]) == (29, ["blue/3.png"])


def test_a_folder_without_pictures_is_refused(measure, file, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "x.png").write_bytes(b"no picture")
    done = measure(data=tmp_path / "bad")
    assert done.code == 2
    assert "none of the 2 files" in done.err.splitlines()[-1]
    assert not file.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--kind", "all"), "--kind is 'all'; expected one of monte_carlo, topk, exact"),
        (("--k", 3), "--k has no effect with --kind monte_carlo"),
        (("--kind", "topk", "--draws", 3), "--draws has no effect with --kind topk"),
        (("--inputs", "both"), "--inputs is 'both'; expected one of source, target"),
        (("--weights", "w.safetensors"), "is a run folder with weights and size of its own"),
        (("--image-size", 64), "is a run folder with weights and size of its own"),
        (("--batch-size", 0), "--batch-size"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(measure, file, flags, said):
    done = measure(*flags)
    assert done.code == 2
    assert said in done.error
    assert not file.exists()


def test_what_cannot_be_measured_or_written_is_one_line(holdfast, trained, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    headless = tmp_path / "headless.safetensors"
    run = load_run(trained[0])
    save_file({n: v for n, v in run.model.state_dict().items() if not n.startswith("fc")}, headless)
    tiny = ["fisher", "timm:test_resnet", trained[1], "--image-size", 32]
    for words, said in (
        (["fisher", trained[0], trained[1], "--out", tmp_path / "F.pt"], "ends in .safetensors"),
        (["fisher", trained[0], trained[1], "--out", other], "is no Fisher information"),
        (["fisher", trained[0], tmp_path / "gone", "--out", tmp_path / "F.safetensors"], "no such folder"),
        ([*tiny, "--weights", headless, "--out", tmp_path / "F.safetensors"], "bring no head"),
        ([*tiny, "--weights", tmp_path / "gone", "--out", tmp_path / "F.safetensors"], "no weight file at"),
        (["fisher", "timm:test_rsnet", trained[1], "--out", tmp_path / "F.safetensors"], "unknown model"),
    ):
        done = holdfast(*words)
        assert done.code == 2
        assert said in done.error


def test_the_file_is_used_in_training(holdfast, measure, trained, file, tmp_path):
    """From the weights that it was measured at; from others it is refused before the first step."""
    measure()
    weights = ("--weights", trained[0] / "model.safetensors")
    train = ("train", trained[1], *TINY, "--epochs", 1, "--progress", "lines", "--method")
    method = f"l2_sp_fisher(fisher='{file}')+gl_sp_fisher(alpha=0)"
    done = holdfast(*train, f"l2_sp_fisher(fisher='{file}')", *weights, "--pretrained", "--out", tmp_path / "a")
    assert done.code == 0, done.err
    assert f"from {file}: 30 samples, 1 label(s), monte_carlo, source inputs" in done.err
    other = holdfast(*train, f"l2_sp_fisher(fisher='{file}')", "--out", tmp_path / "b")
    assert other.code == 2
    assert "was measured at other weights" in other.err.splitlines()[-1]
    assert holdfast(*train, method, *weights, "--out", tmp_path / "c").code == 2
