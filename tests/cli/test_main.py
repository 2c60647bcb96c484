import errno
import os
import subprocess
import sys
import time

import pytest

import holdfast as package
from holdfast.cli import main
from holdfast.cli.failures import in_one_line
from holdfast.core.errors import DataError

HEAVY = ("torch", "timm", "torchvision", "lightning", "matplotlib", "transformers", "sklearn")
LOADED = f"""
import sys
from holdfast.cli.main import command
code = command(sys.argv[1:])
print(code, [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def loaded_after(*words):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"], ["predict", "--help"], ["trian"]])
def test_nothing_heavy_is_loaded_to_answer(words):
    assert loaded_after(*words).endswith(" []")


def test_help_comes_at_once():
    """The best of five; processor time where that is less, so that a busy machine does not count."""
    ask = [sys.executable, "-c", "from holdfast.cli.main import main; main()", "--help"]
    took = []
    for _ in range(5):
        before, began = os.times(), time.perf_counter()
        subprocess.run(ask, capture_output=True, check=True, timeout=60)
        after, ended = os.times(), time.perf_counter()
        spent = sum(after[2:4]) - sum(before[2:4])
        took.append(min(spent, ended - began))
    assert min(took) < 0.5


def test_version(holdfast):
    assert holdfast("--version").out == f"holdfast {package.__version__}\n"


def test_no_words_show_the_verbs(holdfast):
    done = holdfast()
    assert done.code == 0
    assert all(verb in done.out for verb in main.VERBS)


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_has_help(holdfast, verb):
    done = holdfast(verb, "--help")
    assert done.code == 0
    assert f"holdfast {verb}" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "'train'"),
        (["train", "x", "--epoch", "3"], "--epochs"),
        (["train", "x", "--epochs"], "--epochs"),
        (["train"], "DATA"),
        (["evaluate"], "RUN"),
        (["predict", "run"], "FILES"),
        (["--nonsense"], "--nonsense"),
        (["export", "run", "--opset", "new"], "--opset"),
    ],
)
def test_a_mistyped_command_gets_one_line(holdfast, words, said):
    done = holdfast(*words)
    assert done.code == 2
    assert done.error.startswith("error: ")
    assert said in done.error
    assert done.out == ""


def raising(monkeypatch, error):
    def fail(name):
        raise error

    monkeypatch.setattr(main.importlib, "import_module", fail)


def test_an_error_of_the_users_is_one_line(holdfast, monkeypatch):
    raising(monkeypatch, DataError("no such\nfolder"))
    done = holdfast("train")
    assert (done.code, done.error) == (2, "error: no such folder")


@pytest.mark.parametrize("how", ["flag first", "flag last", "environment"])
def test_debug_shows_where(holdfast, monkeypatch, how):
    raising(monkeypatch, DataError("no such folder"))
    if how == "environment":
        monkeypatch.setenv("HOLDFAST_DEBUG", "1")
    words = {"flag first": ["--debug", "train"], "flag last": ["train", "--debug"], "environment": ["train"]}[how]
    done = holdfast(*words)
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1] == "error: no such folder"


def test_debug_after_two_dashes_is_a_file(holdfast):
    assert "run folder" in holdfast("evaluate", "--", "--debug").error


def test_a_full_disk_is_named(holdfast, monkeypatch):
    raising(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "model.onnx"))
    done = holdfast("export")
    assert done.code == 2
    assert "no space left" in done.error
    assert "model.onnx" in done.error


def test_an_interruption_has_a_code_of_its_own(holdfast, monkeypatch):
    raising(monkeypatch, KeyboardInterrupt("SIGINT after epoch 3"))
    done = holdfast("train")
    assert (done.code, done.error) == (130, "interrupted: SIGINT after epoch 3")


def test_an_interruption_within_a_verb_keeps_its_words(holdfast, monkeypatch):
    def verb(settings):
        raise KeyboardInterrupt("SIGINT after epoch 3")

    monkeypatch.setattr("holdfast.train.fit.run", verb)
    done = holdfast("train", "photos")
    assert (done.code, done.error) == (130, "interrupted: SIGINT after epoch 3")


def test_a_fault_of_the_program_is_not_hidden(holdfast, monkeypatch):
    raising(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        holdfast("train")


def test_memory_of_the_device():
    import torch

    assert "--batch-size" in in_one_line(torch.OutOfMemoryError("CUDA out of memory"))
    assert in_one_line(RuntimeError("shapes")) is None


def test_an_os_error_without_a_number_is_a_fault_of_the_program():
    assert in_one_line(OSError("odd")) is None
    assert in_one_line(PermissionError(errno.EACCES, "Permission denied", "x.csv")) == "Permission denied (x.csv)"
