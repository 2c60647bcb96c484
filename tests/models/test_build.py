"""From a name to a network ready for fine-tuning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from holdfast.core.errors import ModelError, UsageError
from holdfast.models.build import build
from holdfast.models.embedded import EMBEDDED, Embedded
from holdfast.models.glyphnet import GlyphNet

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "weights"


def saved(path: Path, state: dict[str, torch.Tensor], prefix: str = "") -> Path:
    save_file({f"{prefix}{name}": value.contiguous().clone() for name, value in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def source() -> nn.Module:
    torch.manual_seed(7)
    return timm.create_model("test_resnet", num_classes=11)


@pytest.fixture
def file(source, tmp_path) -> Path:
    return saved(tmp_path / "w.safetensors", source.state_dict())


def test_file_gives_body_source_head_and_a_fresh_head(source, file):
    built = build("test_resnet", 3, weights=file)
    wanted, found = source.state_dict(), built.model.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted if not key.startswith("fc."))
    assert found["fc.weight"].shape == (3, 96)
    assert torch.equal(built.source_head.weight, wanted["fc.weight"])
    assert built.head.out_features == 3
    assert (built.source.kind, built.source.classes, built.source.location) == ("file", 11, str(file))
    assert re.fullmatch("[0-9a-f]{64}", built.source.sha256)
    assert built.name == "timm:test_resnet"
    assert built.notes == ()
    assert built.model.training


def test_source_head_is_a_copy_that_fine_tuning_does_not_move(file):
    built = build("test_resnet", 11, weights=file)
    assert built.source_head is not built.model.get_submodule(built.head.head)
    assert not torch.equal(built.source_head.weight, built.model.fc.weight)


def test_without_weights_all_is_drawn_from_the_seed():
    state = torch.get_rng_state()
    first, second, other = (build("test_resnet", 3, pretrained=False, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for (name, a), b in zip(first.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(first.model.conv1[0].weight, other.model.conv1[0].weight)
    assert first.source is None
    assert first.source_head is None


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "module.model.", "_orig_mod."])
def test_prefixes_are_taken_off_with_a_note(source, tmp_path, prefix):
    built = build("test_resnet", 3, weights=saved(tmp_path / "w.safetensors", source.state_dict(), prefix))
    assert torch.equal(built.model.conv1[0].weight, source.conv1[0].weight)
    assert len(built.notes) == prefix.count(".")


def test_checkpoint_of_a_wrapper_with_the_head_outside_the_backbone(source, tmp_path):
    state = {k if k.startswith("fc.") else f"backbone.{k}": v for k, v in source.state_dict().items()}
    built = build("test_resnet", 3, weights=saved(tmp_path / "w.safetensors", state))
    assert built.source.classes == 11


def test_body_without_a_head_is_accepted_and_said(source, tmp_path):
    state = {key: value for key, value in source.state_dict().items() if not key.startswith("fc.")}
    built = build("test_resnet", 3, weights=saved(tmp_path / "w.safetensors", state))
    assert built.source_head is None
    assert built.source.classes == 0
    assert "no head" in built.notes[-1]
    assert torch.equal(built.model.conv1[0].weight, source.conv1[0].weight)


def test_counters_missing_in_old_files_are_zero(source, tmp_path):
    state = {key: value for key, value in source.state_dict().items() if "num_batches" not in key}
    built = build("test_resnet", 3, weights=saved(tmp_path / "w.safetensors", state))
    assert torch.equal(built.model.conv1[0].weight, source.conv1[0].weight)


def test_other_architecture_is_counted_and_named(source, tmp_path):
    state = source.state_dict()
    del state["conv1.0.weight"]
    state["extra.weight"] = torch.zeros(2)
    state["bn1.weight"] = torch.zeros(1)
    with pytest.raises(
        ModelError, match=r"1 missing \(first: conv1.0.weight\); 1 unexpected \(first: extra.weight\)"
    ) as e:
        build("test_resnet", 3, weights=saved(tmp_path / "w.safetensors", state))
    assert "1 of another shape (first: bn1.weight (1,) for" in str(e.value)


def test_layout_of_the_other_library_is_recognised(tmp_path):
    file = saved(tmp_path / "w.safetensors", torchvision.models.mobilenet_v2(num_classes=7).state_dict())
    with pytest.raises(ModelError, match="They fit torchvision:mobilenet_v2"):
        build("mobilenetv2_100", 3, weights=file)


def test_layout_is_recognised_by_the_name_of_the_file(tmp_path):
    file = saved(tmp_path / "mobilenet_v2.safetensors", torchvision.models.mobilenet_v2(num_classes=7).state_dict())
    with pytest.raises(ModelError, match="They fit torchvision:mobilenet_v2"):
        build("test_resnet", 3, weights=file)


def test_hugging_face_layout_is_recognised(tmp_path):
    file = saved(tmp_path / "w.safetensors", {"vit.encoder.layer.0.output.dense.weight": torch.zeros(2, 2)})
    with pytest.raises(ModelError, match="Hugging Face"):
        build("test_vit", 3, weights=file)


def test_old_densenet_names_are_converted(tmp_path):
    source = torchvision.models.densenet121(num_classes=4)
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value
        for key, value in source.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    built = build("torchvision:densenet121", 3, weights=saved(tmp_path / "w.safetensors", state))
    layer = "features.denseblock1.denselayer1.conv1.weight"
    assert torch.equal(built.model.state_dict()[layer], source.state_dict()[layer])


@pytest.mark.parametrize("name", ["mnasnet0_5", "inception_v3", "mobilenet_v3_small"])
def test_torchvision_file_without_metadata(name, tmp_path):
    # MNASNet rebuilds itself for a layout without version; Inception's published files carry a second head.
    options = {"init_weights": False} if name == "inception_v3" else {}
    source = torchvision.models.get_model(name, num_classes=6, **options)
    file = saved(tmp_path / "w.safetensors", source.state_dict())
    built = build(f"torchvision:{name}", 3, weights=file, drop_rate=0.4)
    assert built.source.classes == 6
    assert built.model.get_submodule(built.head.rep).p == 0.4
    assert not built.model.get_submodule(built.head.rep).inplace
    key = next(iter(built.model.state_dict()))
    assert torch.equal(built.model.state_dict()[key], source.state_dict()[key])


def test_position_embeddings_follow_the_image_size(tmp_path):
    plain = build("test_vit", 5, pretrained=False)
    file = saved(tmp_path / "w.safetensors", plain.model.state_dict())
    built = build("test_vit", 3, weights=file, image_size=96)
    assert built.model.pos_embed.shape[1] < plain.model.pos_embed.shape[1]
    assert built.preprocessing.size == 96
    assert built.model(torch.randn(2, 3, 96, 96)).shape == (2, 3)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "torchvision:googlenet", "torchvision:mobilenet_v2"])
def test_options_rebuild_the_network_in_its_own_library(name):
    built = build(name, 3, pretrained=False, image_size=64)
    library, _, plain = built.name.partition(":")
    options = built.options | ({"init_weights": False} if "init_weights" in built.options else {})
    create = timm.create_model if library == "timm" else torchvision.models.get_model
    again = create(plain, **options)
    again.load_state_dict(built.model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(again.eval()(x), built.model.eval()(x))


def test_preprocessing_is_the_networks_own():
    found = build("torchvision:mobilenet_v2", 3, pretrained=False).preprocessing
    assert (found.size, found.crop, found.interpolation) == (224, 224 / 256, "bilinear")
    found = build("test_resnet", 3, pretrained=False).preprocessing
    config = timm.get_pretrained_cfg("test_resnet")
    assert (found.mean, found.std, found.size) == (config.mean, config.std, config.input_size[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"image_size": 0}, "image_size is 0"),
        ({"drop_rate": 1.0}, "drop_rate is 1.0"),
        ({"name": "torchvision:resnet18", "drop_rate": 0.5}, "no dropout before its head"),
        ({"name": "torchvision:vit_b_32", "image_size": 33}, "vit_b_32"),
        ({"name": "timm:resnet18.no_such_tag"}, "no_such_tag"),
    ],
)
def test_impossible_options(arguments, message):
    with pytest.raises(UsageError, match=message):
        build(**{"name": "test_resnet", "num_classes": 3, "pretrained": False, **arguments})


def test_refused_network():
    with pytest.raises(ModelError, match="convolutional head"):
        build("torchvision:squeezenet1_1", 3, pretrained=False)


def test_timm_hub(monkeypatch, source):
    def load(model, **_):
        model.load_state_dict({k: v for k, v in source.state_dict().items() if not k.startswith("fc.")}, strict=False)

    monkeypatch.setattr("timm.models._builder.load_pretrained", load)
    built = build("test_resnet", 3)
    assert torch.equal(built.model.conv1[0].weight, source.conv1[0].weight)
    assert (built.source.kind, built.source.classes) == ("hub", 1000)
    assert built.source.location == "timm/test_resnet.r160_in1k"
    assert built.source_head.out_features == 1000


def test_timm_hub_out_of_reach(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", fail)
    with pytest.raises(ModelError, match=r"no route to host.*--weights FILE.*--no-pretrained"):
        build("test_resnet", 3)


def test_timm_network_without_published_weights(monkeypatch):
    monkeypatch.delattr("timm.models._builder.load_pretrained")
    with pytest.raises(ModelError, match=r"no published weights.*--no-pretrained"):
        build("resnet50_mlp", 3)


def test_torchvision_hub(monkeypatch):
    source = torchvision.models.mobilenet_v3_small()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: source.state_dict())
    built = build("torchvision:mobilenet_v3_small", 3)
    assert torch.equal(built.model.features[0][0].weight, source.features[0][0].weight)
    assert torch.equal(built.source_head.weight, source.classifier[3].weight)
    assert (built.source.kind, built.source.classes) == ("hub", 1000)
    assert built.source.location == "MobileNet_V3_Small_Weights.IMAGENET1K_V1"


def test_torchvision_hub_at_another_image_size(monkeypatch):
    source = torchvision.models.vit_b_32()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: source.state_dict())
    built = build("torchvision:vit_b_32", 3, image_size=64)
    assert torch.equal(built.model.conv_proj.weight, source.conv_proj.weight)
    assert built.model.encoder.pos_embedding.shape[1] == 5
    assert built.preprocessing.size == 64
    assert built.model(torch.randn(2, 3, 64, 64)).shape == (2, 3)


def test_torchvision_hub_out_of_reach(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(ModelError, match=r"no route to host.*--weights FILE.*--no-pretrained"):
        build("torchvision:mobilenet_v2", 3)


def test_embedded_network_brings_its_weights(tmp_path, monkeypatch):
    model = GlyphNet(num_classes=7)
    file = saved(tmp_path / "w.safetensors", {k: v.half() if v.ndim else v for k, v in model.state_dict().items()})
    monkeypatch.setitem(EMBEDDED, "glyphnet", Embedded("holdfast.models.glyphnet", "GlyphNet", file))
    built = build("holdfast:glyphnet", 3)
    assert (built.source.kind, built.source.classes) == ("packaged", 7)
    assert torch.equal(built.source_head.weight, model.fc.weight.half().float())
    assert build("holdfast:glyphnet", 3, pretrained=False).source is None


@pytest.mark.realdata
@pytest.mark.parametrize(("file", "classes"), [("imagenet1k", 1000), ("inat-birds", 965)])
def test_real_weights(file, classes):
    path = SHARED / f"mobilenet_v2-{file}.safetensors"
    if not path.is_file():
        pytest.skip("the real weights are not beside the checkout (../shared/weights)")
    built = build("mobilenet_v2", 17, weights=path)
    assert built.name == "torchvision:mobilenet_v2"
    assert built.source.classes == classes
    assert torch.equal(built.source_head.weight, load_file(path)["classifier.1.weight"])
    assert built.model(torch.randn(2, 3, 96, 96)).shape == (2, 17)
