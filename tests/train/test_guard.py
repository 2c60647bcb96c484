import errno
import os
import resource
import signal

import pytest
import torch

import holdfast
from holdfast.core.errors import HoldfastError
from holdfast.train.checkpoint import AtomicIO
from holdfast.train.module import Classifier


def spoil(monkeypatch, at):
    """Make the task loss infinite at this step, counted from 1."""
    original, count = Classifier.training_step, [0]

    def training_step(self, batch, batch_idx):
        count[0] += 1
        return original(self, batch, batch_idx) * (torch.inf if count[0] == at else 1)

    monkeypatch.setattr(Classifier, "training_step", training_step)


@pytest.mark.parametrize(("at", "kept"), [(2, "there is no checkpoint yet"), (5, "the last checkpoint stays")])
def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(tiny, monkeypatch, at, kept):
    with monkeypatch.context() as patch:
        spoil(patch, at)
        with pytest.raises(HoldfastError, match=rf"not finite at step {at} \(epoch {1 + at // 4}\); {kept}") as caught:
            holdfast.fit(**tiny)
    assert "\n" not in str(caught.value)
    assert not (tiny["out"] / "result.json").exists()
    assert holdfast.fit(**tiny)["epochs"] == 3  # goes on from what was good


def test_a_diverging_run_is_stopped(tiny):
    with pytest.raises(HoldfastError, match="not finite"):
        holdfast.fit(**{**tiny, "epochs": 30}, lr=1e30, head_lr=1e30, schedule="constant")


def test_a_full_disk_is_one_line_and_costs_nothing_that_was_there(tiny, monkeypatch):
    full = [False]
    original = os.fsync

    def fsync(descriptor):
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)
        full[0] = (tiny["out"] / "checkpoints" / "last.ckpt").exists()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(HoldfastError, match=r"no space left for .*: free some space and repeat") as caught:
            holdfast.fit(**tiny)
    assert "\n" not in str(caught.value)
    assert not list(tiny["out"].rglob("*.tmp"))
    assert holdfast.fit(**tiny)["epochs"] == 3


def test_a_disk_that_fills_while_a_checkpoint_is_written_keeps_the_one_before(tmp_path):
    file = tmp_path / "last.ckpt"
    AtomicIO().save_checkpoint({"epoch": 1}, file)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(HoldfastError, match="no space left"):
            AtomicIO().save_checkpoint({"epoch": 2, "weights": torch.zeros(100_000)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert AtomicIO().load_checkpoint(file) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
