"""Reading weight files."""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from holdfast.core.errors import ModelError, UsageError
from holdfast.models.weights import file_sha256, read_weights, tensors_sha256

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}


def assert_same(found):
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], value) for name, value in STATE.items())


def test_safetensors(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors")
    assert_same(read_weights(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {}},
        lambda state: {"model_state_dict": state},
        lambda state: {"model": {"state_dict": state}},
    ],
)
def test_pickle_of_tensors_nested_or_not(tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / "w.pth")
    assert_same(read_weights(tmp_path / "w.pth"))


class Code:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("thing", "wanted"), [(Code(), "posix.system"), (argparse.Namespace(lr=1), "argparse.Namespace")]
)
def test_pickle_that_wants_code_is_refused_and_named(tmp_path, monkeypatch, thing, wanted):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": STATE, "extra": thing}, "w.pth")
    with pytest.raises(ModelError, match=f"wants to run code: its pickle asks for '{wanted}'"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_plain_pickle_that_wants_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.bin").write_bytes(pickle.dumps(Code()))
    with pytest.raises(ModelError, match=r"w\.bin"):
        read_weights(tmp_path / "w.bin")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 half a zip"])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_other_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_truncated_files_are_refused(tmp_path, name):
    path = tmp_path / name
    save_file(STATE, path) if name.endswith("safetensors") else torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelError, match=name):
        read_weights(path)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UsageError, match="no weight file"):
            read_weights(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, torch.zeros(3), {1: torch.zeros(3)}])
def test_pickles_without_a_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="expected a state dict"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_values_are_refused(tmp_path, value):
    torch.save({**STATE, "b": torch.tensor([1.0, value])}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="'b' holds NaN or infinite"):
        read_weights(tmp_path / "w.pth")


def test_file_digest(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * (2 << 20))
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"x" * (2 << 20)).hexdigest()


def test_tensor_digest_sees_names_values_types_and_shapes_not_order():
    digest = tensors_sha256(STATE)
    assert digest == tensors_sha256(dict(reversed(STATE.items())))
    weight = STATE["a.weight"]
    for other in (weight + 1, weight.double(), weight.reshape(3, 2), weight.bfloat16()):
        assert tensors_sha256({**STATE, "a.weight": other}) != digest
    assert tensors_sha256({"b.weight": weight, "a.count": STATE["a.count"]}) != digest
