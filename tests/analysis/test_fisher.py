"""Fisher information layer by layer."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from holdfast.analysis.boxes import box_of
from holdfast.analysis.trained.fisher import fisher, in_order, spread_of
from holdfast.core.errors import DataError
from holdfast.core.information import RECORD

RECORDED = {"model": "timm:tiny", "samples": 30, "kind": "monte_carlo", "labels": 1, "inputs": "source", "mean": 0.1}


@pytest.fixture
def written(tmp_path):
    """Writes a file of F with a record; returns its path."""

    def call(tensors, **record):
        path = tmp_path / "F.safetensors"
        norms = dict.fromkeys(tensors, 1.0)
        save_file(tensors, path, metadata={RECORD: json.dumps({**RECORDED, "norms": norms, **record})})
        return path

    return call


def lognormal(*shape, scale=1.0):
    return scale * torch.randn(*shape).exp()


def test_quantiles_are_numpys_over_what_is_not_zero():
    F = lognormal(40, 5)
    F[:7] = 0
    found = spread_of("a.weight", F)
    positive = F[F > 0].double().numpy()
    b = found.positive
    expected = np.quantile(positive, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    assert [b.minimum, b.low, b.q1, b.median, b.q3, b.high, b.maximum] == pytest.approx(expected.tolist(), rel=1e-12)
    assert (b.count, found.zeros, found.count) == (165, 35, 200)
    assert found.mean == pytest.approx(float(F.double().mean()))


def test_quantiles_by_hand():
    box = box_of(np.array([5, 1, 3, 2, 4]))
    assert (box.minimum, box.q1, box.median, box.q3, box.maximum) == (1, 2, 3, 4, 5)
    assert (box.low, box.high) == pytest.approx((1.2, 4.8))
    assert box_of(np.array([])) is None


def test_layers_come_in_the_networks_order_and_biases_in_the_data_alone(written):
    tensors = {
        "stem.weight": lognormal(4, 3),
        "stem.bias": lognormal(4),
        "blocks.0.weight": lognormal(4, 4, scale=0.01),
    }
    found = fisher(written(tensors))  # the file itself has them by name
    assert found.data["drawn"] == ["stem.weight", "blocks.0.weight"]
    assert [each["parameter"] for each in found.data["parameters"]] == list(tensors)
    assert any("1 biases and normalisation parameters" in note for note in found.notes)
    assert found.inputs["samples"] == 30
    assert "norms" not in found.inputs
    first, other = tensors["stem.weight"].double().median(), tensors["blocks.0.weight"].double()
    ratio = np.median(tensors["stem.weight"].double().numpy()) / np.median(other.numpy())
    assert f", {float(f'{ratio:.2g}'):g} times the median of the 1 other layers' medians" in found.text
    assert float(first) > 0


def test_without_a_record_of_the_order_numbers_are_in_theirs():
    assert in_order(dict.fromkeys(["b.10.w", "b.9.w", "a.w"]), {}) == ["a.w", "b.9.w", "b.10.w"]


def test_zeros_are_counted_and_a_layer_of_zeros_alone_leaves_a_gap(written):
    tensors = {"a.weight": lognormal(4, 5), "b.weight": torch.zeros(2, 5), "c.weight": lognormal(4, 5)}
    tensors["a.weight"][0] = 0
    found = fisher(written(tensors))
    assert [each["zeros"] for each in found.data["parameters"]] == [5, 10, 0]
    assert found.data["parameters"][1]["positive"] is None
    assert "Zero are 15 of the 50 values shown (30.0 %)." in found.text
    svg = found.figures[0].svg.decode()
    assert "100.0 % zero" in svg
    assert "25.0 % zero" in svg
    nothing = fisher(written({"a.weight": torch.zeros(2, 2)}))
    assert nothing.text.endswith("is zero throughout.")
    assert not nothing.figures


def test_target_inputs_are_said_to_be_such(written):
    found = fisher(written({"a.weight": lognormal(4, 5)}, inputs="target"))
    assert any("target inputs" in note for note in found.notes)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_numbers_that_f_cannot_be_are_refused(written, value):
    with pytest.raises(DataError, match=r"a\.weight is not finite and >= 0 throughout"):
        fisher(written({"a.weight": torch.tensor([[1.0, value]])}))


def test_of_a_measured_network(holdfast, trained, tmp_path):
    file = tmp_path / "F.safetensors"
    assert holdfast("fisher", *trained, "--out", file).code == 0
    done = holdfast("analyse", "fisher", file, "--out", tmp_path / "out", "--json")
    found = json.loads(done.out)
    assert (found["inputs"]["samples"], found["inputs"]["inputs"]) == (30, "source")
    assert found["data"]["drawn"][0].startswith("conv1")
    assert (tmp_path / "out" / "fisher.png").is_file()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.safetensors", "no file at"),
        ("run/model.safetensors", "holds no Fisher information"),
        ("run/result.json", "no complete safetensors file"),
    ],
)
def test_other_files_are_refused_in_one_line(holdfast, trained, name, said):
    done = holdfast("analyse", "fisher", trained[0].parent / name)
    assert done.code == 2
    assert said in done.error
