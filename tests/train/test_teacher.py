"""Methods that compare features with the starting point, from one call: measured, resumed, in bfloat16."""

import pytest
from safetensors.torch import load_file

import holdfast
from holdfast.core import channels


def kept(result):
    return load_file(result.folder / "model.safetensors")


def differ(a, b):
    return any(not (a[name] == b[name]).all() for name in a)


def test_the_teachers_arithmetic_is_a_setting(tiny, tmp_path):
    runs = [
        kept(holdfast.fit(**tiny | {"method": "know_dist(lam=0.1)", "bn": "train", "out": tmp_path / name} | more))
        for name, more in {"same": {}, "bf16": {"teacher_precision": "bf16"}, "plain": {"method": "plain"}}.items()
    ]
    assert differ(runs[0], runs[1])
    assert all(differ(run, runs[2]) for run in runs[:2])


def test_delta_measures_on_normalised_pictures_and_keeps_its_file(tiny, tmp_path, monkeypatch):
    file, seen = tmp_path / "A.safetensors", []
    measured = channels.measured

    def watched(model, located, layers, loader, **options):
        seen.extend(float(batch.x.abs().max()) for batch in loader)
        return measured(model, located, layers, loader, **options)

    monkeypatch.setattr(channels, "measured", watched)
    method = f"delta(alpha=0.1, epochs=2, batches=2, attention='{file}')"
    first = holdfast.fit(**tiny | {"method": method})
    assert len(seen) == 3  # the steps of an epoch
    assert max(seen) < 10  # not 255
    ends = {"layer1.0.conv2", "layer2.0.conv2", "layer3.0.conv3", "layer4.0.conv2"}  # its third stage is a bottleneck
    assert load_file(file).keys() == ends
    second = holdfast.fit(**tiny | {"method": method, "out": tmp_path / "again"})
    assert len(seen) == 3  # read, not measured
    assert not differ(kept(first), kept(second))


def test_a_resumed_run_measures_nothing_again(tiny, tmp_path, monkeypatch):
    method = "delta(alpha=0.1, epochs=2, batches=2)"
    whole = kept(holdfast.fit(**tiny | {"method": method, "keep": "last", "out": tmp_path / "whole"}))

    class StopError(Exception):
        pass

    def stop(self, trainer, module):
        if trainer.current_epoch == 2:
            raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(holdfast.adapters.lightning.HoldfastCallback, "on_train_epoch_start", stop)
        with pytest.raises(StopError):
            holdfast.fit(**tiny | {"method": method, "keep": "last"})
    monkeypatch.setattr(channels, "measured", lambda *_, **__: 1 / 0)
    assert not differ(kept(holdfast.fit(**tiny | {"method": method, "keep": "last"})), whole)
