import builtins
import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from holdfast.core.errors import ModelError
from holdfast.models.build import build
from holdfast.train import export
from holdfast.train.loaded import load_run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "copy")


def test_the_printed_lines_load_the_network(holdfast, run, monkeypatch):
    monkeypatch.setattr(export, "save_onnx", lambda *_, **__: None)
    lines = holdfast("export", run).out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("import "))
    names = {}
    exec("\n".join(lines[start : start + 3]), names)
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(names["model"].eval()(x), load_run(run).model(x))


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v3_small", "timm:test_vit"])
def test_the_lines_work_for_other_libraries_and_options(tmp_path, name):
    built = build(name, 5, pretrained=False, image_size=64)
    file = tmp_path / "model.safetensors"
    export.save_weights(built.model, file)
    names = {}
    exec("\n".join(export.loading_lines(built.name, built.options, str(file))), names)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(names["model"].eval()(x), built.model.eval()(x))


def test_onnx_computes_the_same_for_any_batch(holdfast, run):
    done = holdfast("export", run)
    assert done.code == 0
    assert "largest relative difference" in done.out
    session = onnxruntime.InferenceSession(run / "model.onnx")
    loaded = load_run(run)
    for n in (1, 2, 5):
        x = torch.randn(n, 3, 32, 32)
        (got,) = session.run(["logits"], {"input": x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(got, loaded.model(x).numpy(), rtol=1e-4, atol=1e-5)


def test_the_file_says_how_to_use_it(holdfast, run, tmp_path):
    file = tmp_path / "elsewhere.onnx"
    done = holdfast("export", run, "--onnx", file, "--opset", 18)
    assert str(file) in done.out
    assert not (run / "model.onnx").exists()
    proto = onnx.load(file)
    about = json.loads(next(entry.value for entry in proto.metadata_props if entry.key == "holdfast"))
    assert about["classes"] == ["blue", "green", "red"]
    assert about["size"] == 32
    assert {o.version for o in proto.opset_import if o.domain == ""} == {18}


def test_an_opset_that_does_not_exist(holdfast, run):
    done = holdfast("export", run, "--opset", 3)
    assert done.code == 2
    assert "opset" in done.err.splitlines()[-1] or "ONNX" in done.err.splitlines()[-1]
    assert not (run / "model.onnx").exists()


def test_a_file_that_computes_something_else_is_not_written(run, monkeypatch):
    model = load_run(run).model
    exported = export._onnx_of(model, 32, None)
    monkeypatch.setattr(export, "_onnx_of", lambda *_: exported)
    with torch.no_grad():
        model.fc.bias += 1.0
    with pytest.raises(ModelError, match="nothing was written"):
        export.save_onnx(model, 32, {}, run / "model.onnx")
    assert not (run / "model.onnx").exists()


def without(monkeypatch, missing):
    real = builtins.__import__

    def importing(name, *rest):
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_the_missing_extra_is_named(holdfast, run, monkeypatch):
    without(monkeypatch, "onnxscript")
    done = holdfast("export", run)
    assert done.code == 2
    assert done.error.endswith('pip install "holdfast[onnx]"')
    assert "import timm" in done.out


def test_without_onnxruntime_it_says_that_nothing_was_checked(holdfast, run, monkeypatch):
    without(monkeypatch, "onnxruntime")
    done = holdfast("export", run)
    assert done.code == 0
    assert "not checked" in done.out
