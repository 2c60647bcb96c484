"""Safetensors by hand: what its own library reads and writes, and refusals of what is none."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from holdfast.core.errors import DataError, UsageError
from holdfast.core.tensorfile import read_notes, read_tensors, write_tensors


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "t.safetensors"
    tensors = {
        "a": torch.arange(6, dtype=torch.float32).view(2, 3),
        "b.c": torch.randn(4, 1, 2, dtype=torch.float64),
        "h": torch.randn(5).half(),
        "l": torch.randn(3).bfloat16(),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }
    save_file(tensors, path, metadata={"made": "here"})
    return path, tensors


def test_every_tensor_and_note_comes_back(file):
    path, tensors = file
    found, notes = read_tensors(path)
    assert notes == {"made": "here"}
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    found["a"] += 1  # memory of its own


def test_notes_are_read_whatever_the_tensors_are(tmp_path):
    path = tmp_path / "whole.safetensors"
    save_file({"steps": torch.tensor([3])}, path, metadata={"made": "here"})
    assert read_notes(path) == {"made": "here"}
    with pytest.raises(DataError, match="I64"):
        read_tensors(path)
    with pytest.raises(UsageError, match="no file at"):
        read_notes(tmp_path / "nowhere")


def rewritten(path, change):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["a"].update(dtype="I64"),
        lambda h: h["a"].update(shape=[2, 4]),
        lambda h: h["a"].update(shape=[-2, -3]),
        lambda h: h["a"].update(data_offsets=[0, 1 << 40]),
        lambda h: h["a"].update(data_offsets=[-24, 0]),
        lambda h: h["a"].pop("shape"),
        lambda h: h.update(a=7),
    ],
)
def test_a_header_that_lies_is_refused(file, change):
    rewritten(file[0], change)
    with pytest.raises(DataError, match="no complete safetensors file"):
        read_tensors(file[0])


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]", b"not tensors at all"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no complete safetensors file"):
        read_tensors(path)


def test_a_cut_file_is_refused(file):
    file[0].write_bytes(file[0].read_bytes()[:-3])
    with pytest.raises(DataError):
        read_tensors(file[0])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no file at .*gone\.safetensors"):
        read_tensors(tmp_path / "gone.safetensors")


def test_what_is_written_its_own_library_reads(file, tmp_path):
    _, tensors = file
    tensors["transposed"] = torch.randn(3, 4).T
    path = tmp_path / "w.safetensors"
    write_tensors(path, tensors, {"note": "é"})
    for found in (load_file(path), read_tensors(path)[0]):
        assert found.keys() == tensors.keys()
        assert all(found[name].dtype == value.dtype for name, value in tensors.items())
        assert all(torch.equal(found[name], value) for name, value in tensors.items())
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"note": "é"}


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {})
    path.chmod(0o444)
    write_tensors(path, {"a": torch.zeros(2)}, {})  # a new file in its place
    assert read_tensors(path)[0]["a"].tolist() == [0, 0]
    with pytest.raises(UsageError, match=r"x\.safetensors cannot be written: "):
        write_tensors(path / "x.safetensors", {"a": torch.ones(2)}, {})
    assert [each.name for each in tmp_path.iterdir()] == ["w.safetensors"]
