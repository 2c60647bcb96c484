"""What acts in phases, from folder to file: the head first, frozen layers, recorded answers, interpolated weights."""

import pytest
import timm
import torch
from safetensors.torch import load_file

import holdfast
from holdfast.train import training
from holdfast.train.plan import make_plan
from holdfast.train.settings import Settings
from train.test_resume import cut_short, figures, weights

PHASES = "lp_ft(probe=0.5)+freeze(layers=2)+wise_ft(choose=true)"


@pytest.fixture
def pretrained(tiny, tmp_path):
    """Settings of a run from a weight file with a head for seven classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(timm.create_model("test_resnet", num_classes=7).state_dict(), tmp_path / "weights.pt")
    return tiny | {"weights": tmp_path / "weights.pt", "bn": "train", "lr": 0.05, "head_lr": 0.05}


def tensors(result):
    return load_file(result.folder / "model.safetensors")


def test_the_exported_weights_are_the_interpolated_ones(pretrained, tmp_path):
    tuned = tensors(holdfast.fit(**pretrained | {"out": tmp_path / "plain"}))
    result = holdfast.fit(**pretrained, method="wise_ft(factor=0.3)")
    start = make_plan(Settings.of(**pretrained)).built.model.state_dict()
    assert result["wise_ft.factor"] == 0.3
    moved = 0
    for name, value in tensors(result).items():
        kept = name.startswith("fc.") or not value.is_floating_point()
        wanted = tuned[name] if kept else torch.lerp(start[name], tuned[name], 0.3)
        torch.testing.assert_close(value, wanted, rtol=1e-6, atol=1e-7, msg=name)
        moved += not torch.equal(value, tuned[name])
    assert moved > 10


def test_the_factor_is_chosen_on_validation_and_the_test_part_is_read_once(pretrained, monkeypatch, capsys):
    looked, scores = [], []
    predict, score = training.predict_batches, training.Run._validation_accuracy

    def predicted(model, batches, *rest):
        looked.append(batches)
        return predict(model, batches, *rest)

    def scored(run):
        scores.append(score(run))
        return scores[-1]

    monkeypatch.setattr(training, "predict_batches", predicted)
    monkeypatch.setattr(training.Run, "_validation_accuracy", scored)
    result = holdfast.fit(**pretrained | {"progress": "lines", "method": "wise_ft(choose=true)"})
    test, val = looked[-1], looked[0]
    assert test is not val
    assert looked == [val] * 12 + [test]
    best = max(range(11), key=lambda k: (scores[k], k))
    assert len(set(scores)) > 1
    assert result["wise_ft.factor"] == best / 10
    assert result["wise_ft.score"] == result["val.accuracy"] == scores[best]
    assert f"wise_ft.factor {best / 10:g}" in capsys.readouterr().err


@pytest.mark.parametrize("after", [1, 2, None])
@pytest.mark.parametrize("method", [PHASES, "lwf@li2016+wise_ft"])
def test_a_resumed_run_ends_at_the_same_bits(pretrained, tmp_path, monkeypatch, method, after):
    settings = pretrained | {"method": method}
    whole = holdfast.fit(**settings | {"out": tmp_path / "whole"})
    cut_short(monkeypatch, settings, after=after)
    resumed = holdfast.fit(**settings)
    assert weights(resumed) == weights(whole)
    assert figures(resumed) == figures(whole)


def test_frozen_layers_and_their_statistics_leave_the_run_as_they_came(pretrained):
    found = tensors(holdfast.fit(**pretrained, method="freeze(layers=2)+lp_ft"))
    start = make_plan(Settings.of(**pretrained)).built.model.state_dict()
    still = {name for name, value in found.items() if torch.equal(value, start[name])}
    assert {name for name in found if name.startswith(("conv1", "bn1", "layer1"))} <= still
    assert not {"layer2.0.conv1.weight", "layer4.0.bn1.running_mean", "fc.weight"} & still


def test_without_a_source_head_lwf_says_what_to_do(tiny):
    with pytest.raises(holdfast.UsageError, match="lwf keeps the source classes"):
        holdfast.fit(**tiny, method="lwf")
