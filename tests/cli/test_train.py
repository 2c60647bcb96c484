import json
import signal
import subprocess
import sys

import pytest
import yaml

from .conftest import TINY, contents


def test_the_result_goes_to_stdout_and_the_story_to_stderr(train, photos, tmp_path):
    done = train(photos)
    assert done.code == 0
    assert "test  accuracy" in done.out
    assert "run" in done.out.splitlines()[-1]
    assert "epoch 2/2" in done.err
    assert "epoch" not in done.out
    figures = json.loads((tmp_path / "run" / "result.json").read_text())
    assert f"accuracy {100 * figures['test.accuracy']:.1f} %" in done.out


def test_json_is_alone_on_stdout(train, photos, tmp_path):
    shown = json.loads(train(photos, "--json").out)
    assert shown.pop("run") == str(tmp_path / "run")
    assert shown == json.loads((tmp_path / "run" / "result.json").read_text())


def test_a_dry_run_tells_all_and_writes_nothing(train, photos, tmp_path):
    before = contents(tmp_path)
    done = train(photos, "--dry-run", "--method", "l2_sp(alpha=0.2)")
    assert done.code == 0
    for said in (
        "train 18, val 6, test 6",
        "test_resnet",
        "rep at",
        "l2_sp(alpha=0.2)",
        "2 epochs × 3 = 6",
        "a new run",
    ):
        assert said in done.out
    assert contents(tmp_path) == before
    assert not (tmp_path / "run").exists()


def test_a_dry_run_as_json(train, photos):
    shown = json.loads(train(photos, "--dry-run", "--json").out)
    assert shown["settings"]["epochs"] == 2
    assert shown["state"] == "empty"


def test_the_same_command_again_says_so(train, photos, tmp_path):
    first = train(photos)
    before = contents(tmp_path / "run")
    again = train(photos)
    assert again.code == 0
    assert again.out == first.out
    assert "finished" in again.error
    assert contents(tmp_path / "run") == before


def test_other_settings_into_the_same_folder_are_refused(train, photos, tmp_path):
    train(photos)
    before = contents(tmp_path / "run")
    done = train(photos, "--lr", 0.5)
    assert done.code == 2
    assert "lr" in done.error
    assert contents(tmp_path / "run") == before


def test_a_settings_file_repeats_the_run(holdfast, trained, tmp_path):
    run, _ = trained
    done = holdfast("train", "--settings", run / "settings.yaml", "--out", tmp_path / "again")
    assert done.code == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    first, again = (yaml.safe_load((folder / "settings.yaml").read_text()) for folder in (run, tmp_path / "again"))
    assert first == again


@pytest.mark.slow
def test_an_interrupted_run_says_so_in_one_line_and_goes_on(train, photos, tmp_path):
    flags = ["--out", tmp_path / "run", "--epochs", 60, "--checkpoint-every", 1]
    words = [sys.executable, "-c", "from holdfast.cli.main import main; main()", "train", photos, *TINY, *flags]
    with subprocess.Popen([str(w) for w in words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as going:
        told = []
        for line in going.stderr:
            told.append(line)
            if line.startswith("epoch 2/"):
                going.send_signal(signal.SIGINT)
                break
        rest = going.stderr.read()
        assert going.stdout.read() == ""
    assert going.returncode == 130
    assert rest.splitlines()[-1].startswith("interrupted: SIGINT after epoch ")
    assert "Traceback" not in rest
    assert not (tmp_path / "run" / "result.json").exists()
    done = train(photos, *flags)
    assert done.code == 0
    assert "resuming" in done.err
    assert "epoch 1/" not in done.err
