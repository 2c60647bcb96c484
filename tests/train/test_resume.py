import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import timm
import torch

import holdfast
from holdfast.core.errors import HoldfastError, StartingPointError
from holdfast.train import training
from holdfast.train.checkpoint import Keeper, load

METHODS = "rifle(periods=2)+dtnh(l2_sp(alpha=0.1))+ptr(R=3, m=1)"


class BoomError(Exception):
    pass


def weights(result):
    return (result.folder / "model.safetensors").read_bytes()


def figures(result):
    """All that is not time, memory or place."""
    return {k: v for k, v in result.figures.items() if k not in ("seconds", "peak_memory_mb")}


def curve(result):
    rows = [line.split(",") for line in (result.folder / "metrics.csv").read_text().splitlines()]
    seconds = rows[0].index("seconds")
    return [row[:seconds] + row[seconds + 1 :] for row in rows]


def cut_short(monkeypatch, settings, after):
    """A run that dies after this many epochs, their checkpoint written; after training where that is None."""
    original = Keeper.on_train_epoch_end

    def fail(self, trainer, pl_module):
        original(self, trainer, pl_module)
        if len(self._history.rows) == after:
            raise BoomError

    def unfinished(*_):
        raise BoomError

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", fail)
        patch.setattr(training.Run, "finish", unfinished)
        with pytest.raises(BoomError):
            holdfast.fit(**settings)


@pytest.mark.parametrize(
    ("after", "change"),
    [
        (1, {"method": METHODS}),
        (2, {"method": METHODS}),
        (1, {"method": "ptr(R=3, T=inf)", "keep": "last", "optimizer": "adamw", "workers": 2}),
        (1, {"bn": "train", "drop_rate": 0.5, "precision": "bf16", "accumulate": 2, "keep": "last"}),
        (2, {"val_every": 2, "schedule": "constant", "cache": "disk", "lr": 0.05}),
    ],
)
def test_a_resumed_run_ends_at_the_same_bits(tiny, tmp_path, monkeypatch, change, after):
    whole = holdfast.fit(**{**tiny, **change, "out": tmp_path / "whole"})
    cut_short(monkeypatch, {**tiny, **change}, after=after)
    assert not (tiny["out"] / "result.json").exists()
    resumed = holdfast.fit(**{**tiny, **change})
    assert weights(resumed) == weights(whole)
    assert figures(resumed) == figures(whole)
    assert curve(resumed) == curve(whole)


def test_a_run_killed_after_training_is_finished_without_training(tiny, tmp_path, monkeypatch):
    whole = holdfast.fit(**{**tiny, "out": tmp_path / "whole"}, method=METHODS)
    cut_short(monkeypatch, {**tiny, "method": METHODS}, after=None)
    monkeypatch.setattr(training.Trainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    resumed = holdfast.fit(**tiny, method=METHODS)
    assert weights(resumed) == weights(whole)
    assert figures(resumed) == figures(whole)


def test_a_run_that_patience_stopped_is_not_trained_on(tiny, monkeypatch):
    change = {"epochs": 30, "early_stopping": 1, "lr": 1e-9, "head_lr": 1e-9}
    cut_short(monkeypatch, {**tiny, **change}, after=None)
    monkeypatch.setattr(training.Trainer, "fit", lambda *_, **__: pytest.fail("trained on"))
    assert holdfast.fit(**{**tiny, **change})["epochs"] < 30


def test_a_checkpoint_holds_tensors_and_plain_values_only(tiny):
    holdfast.fit(**tiny, method=METHODS)
    content = load(tiny["out"] / "checkpoints" / "last.ckpt")  # refuses anything else
    assert content["callbacks"]["HoldfastCallback"]["methods"].startswith("rifle")


def test_weights_that_changed_since_the_run_began_are_refused(tiny, tmp_path, monkeypatch):
    def save(scale):
        model = timm.create_model("test_resnet", num_classes=7)
        state = {name: value * scale for name, value in model.state_dict().items()}
        torch.save(state, tmp_path / "weights.pt")

    save(1)
    tiny |= {"weights": tmp_path / "weights.pt"}
    cut_short(monkeypatch, tiny, after=1)
    save(2)
    with pytest.raises(StartingPointError, match="weights have changed since"):
        holdfast.fit(**tiny)


def test_other_versions_are_told_and_allowed(tiny, monkeypatch, capsys):
    cut_short(monkeypatch, tiny, after=1)
    monkeypatch.setattr("holdfast.train.fit.versions", lambda: {"torch": "0.1"})
    assert holdfast.fit(**{**tiny, "progress": "lines"})["epochs"] == 3
    assert "torch" in (told := capsys.readouterr().err)
    assert "0.1 now: the result may differ" in told
    assert "resuming   after epoch 1" in told


def test_a_damaged_checkpoint_is_one_line(tiny, monkeypatch):
    cut_short(monkeypatch, tiny, after=1)
    last = tiny["out"] / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(HoldfastError, match="cannot read the checkpoint") as caught:
        holdfast.fit(**tiny)
    assert "\n" not in str(caught.value)


def test_without_checkpoints_a_run_begins_anew(tiny, monkeypatch):
    tiny["checkpoint_every"] = 0
    cut_short(monkeypatch, tiny, after=2)
    assert holdfast.fit(**tiny)["epochs"] == 3
    assert not (tiny["out"] / "checkpoints").exists()


def test_by_default_checkpoints_go_by_time_and_the_end(tiny, monkeypatch):
    tiny["checkpoint_every"] = None
    written = []
    original = training.Trainer.save_checkpoint
    monkeypatch.setattr(
        training.Trainer,
        "save_checkpoint",
        lambda self, path: (written.append(self.current_epoch), original(self, path)),
    )
    holdfast.fit(**tiny)
    assert written == [2]
    monkeypatch.setattr("holdfast.train.checkpoint.SECONDS_BETWEEN", 0.0)
    written.clear()
    holdfast.fit(**{**tiny, "out": tiny["out"] / "other"})
    assert written == [0, 1, 2]


def test_an_interrupt_leaves_a_folder_that_goes_on(tiny, tmp_path, monkeypatch):
    whole = holdfast.fit(**{**tiny, "out": tmp_path / "whole"})
    original = Keeper.on_train_epoch_end

    def stop(self, trainer, pl_module):
        original(self, trainer, pl_module)
        if len(self._history.rows) == 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt, match="SIGINT after epoch 2 of 3; the same command goes on"):
            holdfast.fit(**tiny)
    assert signal.getsignal(signal.SIGINT) is before
    assert weights(holdfast.fit(**tiny)) == weights(whole)


def test_a_thread_trains_too_though_it_may_not_handle_signals(tiny):
    found = []
    thread = threading.Thread(target=lambda: found.append(holdfast.fit(**tiny)))
    thread.start()
    thread.join()
    assert found[0]["epochs"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["writes", "moments"])
def test_a_run_killed_again_and_again_ends_at_the_same_bits(tiny, tmp_path, kind):
    settings = {**tiny, "method": METHODS, "epochs": 6}
    whole = holdfast.fit(**{**settings, "out": tmp_path / "whole"})
    text = json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in settings.items()})
    script = Path(__file__).with_name("lives.py")
    ended = subprocess.run(
        [sys.executable, script, kind, "1", text], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 2
    resumed = holdfast.fit(**settings)
    assert weights(resumed) == weights(whole)
    assert figures(resumed) == figures(whole)
    assert not list(settings["out"].rglob("*.tmp"))
