"""``head(rep)`` is the logits, and ``rep`` lies before the dropout, family by family."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from holdfast.core.errors import ModelError
from holdfast.core.locate import Located, locate, make_tappable, representation
from holdfast.models.heads import fresh_head, replace

# timm's module → (smallest variant, side of the test image)
TIMM = {
    "byobnet": ("test_byobnet", 64),
    "cait": ("cait_xxs24_224", 224),
    "coat": ("coat_tiny", 224),
    "convit": ("convit_tiny", 224),
    "convmixer": ("convmixer_768_32", 64),
    "convnext": ("test_convnext", 64),
    "cspnet": ("cs3darknet_focus_s", 64),
    "davit": ("davit_tiny", 64),
    "deit": ("deit_tiny_patch16_224", 224),
    "densenet": ("densenet121", 64),
    "edgenext": ("edgenext_xx_small", 64),
    "efficientnet": ("test_efficientnet", 64),
    "efficientvit_mit": ("efficientvit_b0", 64),
    "efficientvit_msra": ("efficientvit_m0", 224),
    "eva": ("vit_tiny_patch16_dinov3_qkvb", 64),
    "fasternet": ("fasternet_t0", 64),
    "fastvit": ("fastvit_t8", 64),
    "focalnet": ("focalnet_tiny_srf", 64),
    "gcvit": ("gcvit_xxtiny", 224),
    "ghostnet": ("ghostnet_050", 64),
    "hardcorenas": ("hardcorenas_b", 64),
    "hgnet": ("hgnetv2_b0", 64),
    "hiera": ("hiera_tiny_224", 224),
    "hieradet_sam2": ("sam2_hiera_tiny", 64),
    "hrnet": ("hrnet_w18_small", 64),
    "inception_next": ("inception_next_atto", 64),
    "mambaout": ("test_mambaout", 64),
    "maxxvit": ("test_maxvit", 160),
    "metaformer": ("poolformerv2_s12", 64),
    "mlp_mixer": ("gmlp_ti16_224", 224),
    "mobilenetv3": ("lcnet_035", 64),
    "mobilevit": ("mobilevit_xxs", 64),
    "mvitv2": ("mvitv2_tiny", 64),
    "nest": ("nest_tiny", 224),
    "nextvit": ("nextvit_small", 64),
    "nfnet": ("test_nfnet", 64),
    "pit": ("pit_ti_224", 224),
    "pvt_v2": ("pvt_v2_b0", 64),
    "rdnet": ("rdnet_tiny", 64),
    "regnet": ("regnetx_002", 64),
    "repghost": ("repghostnet_050", 64),
    "res2net": ("res2next50", 64),
    "resnest": ("resnest14d", 64),
    "resnet": ("test_resnet", 64),
    "rexnet": ("rexnet_100", 64),
    "selecsls": ("selecsls42", 64),
    "senet": ("legacy_seresnet18", 64),
    "shvit": ("shvit_s1", 64),
    "sknet": ("skresnet18", 64),
    "starnet": ("starnet_s050", 64),
    "swin_transformer": ("swin_tiny_patch4_window7_224", 224),
    "swin_transformer_v2": ("swinv2_tiny_window8_256", 256),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", 224),
    "tiny_vit": ("tiny_vit_5m_224", 64),
    "tnt": ("tnt_s_legacy_patch16_224", 224),
    "twins": ("twins_svt_small", 64),
    "visformer": ("visformer_tiny", 224),
    "vision_transformer": ("test_vit", 64),
    "vision_transformer_hybrid": ("vit_tiny_r_s16_p8_224", 224),
    "vision_transformer_relpos": ("test_vit_relpos", 160),
    "vovnet": ("ese_vovnet19b_slim_dw", 64),
    "xception": ("legacy_xception", 64),
    "xcit": ("xcit_nano_12_p8_224", 64),
}
SLOW = {
    "beit": ("beit_base_patch16_224", 224),
    "byoanet": ("halonet_h1", 256),
    "csatv2": ("csatv2", 512),
    "inception_resnet_v2": ("inception_resnet_v2", 299),
    "inception_v3": ("inception_v3", 299),
    "inception_v4": ("inception_v4", 299),
    "sequencer": ("sequencer2d_s", 64),
    "tresnet": ("tresnet_m", 64),
    "vgg": ("vgg11", 64),
    "vitamin": ("vitamin_small_224", 224),
    "xception_aligned": ("xception41p", 64),
}
WITHOUT_DROPOUT = {"shvit"}  # takes drop_rate, and has no dropout before its head

TORCHVISION = {
    "alexnet": 64,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "vgg11": 64,
    "vit_b_32": 32,
    "wide_resnet50_2": 64,
}
EXTRA = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
    "vgg11": {"init_weights": False},
    "vit_b_32": {"image_size": 32},
}

SEVERAL, CONVOLUTIONAL = "several heads", "convolutional head"
REFUSED = {
    "crossvit_tiny_240": SEVERAL,
    "deit_tiny_distilled_patch16_224": SEVERAL,
    "dla46x_c": CONVOLUTIONAL,
    "dpn48b": CONVOLUTIONAL,
    "efficientformer_l1": SEVERAL,
    "efficientformerv2_s0": SEVERAL,
    "levit_128s": SEVERAL,
    "repvit_m1": SEVERAL,
    "resnetv2_18": CONVOLUTIONAL,
    "swiftformer_xs": SEVERAL,
    "volo_d1_224": SEVERAL,
}


def prepared(model: nn.Module) -> Located:
    """A drawn head in place of one that may start at zero, where any representation would pass."""
    located = locate(model)
    make_tappable(model, located)
    old = model.get_submodule(located.head)
    assert isinstance(old, nn.Linear)
    replace(model, located.head, fresh_head(old, located.out_features, seed=1))
    return located


def check_logits(model: nn.Module, located: Located, x: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        logits, rep = model(x), representation(model, x, located)
        logits = logits if isinstance(logits, Tensor) else logits.logits
        assert rep.shape == (len(x), located.in_features)
        assert not torch.equal(rep[0], rep[1])
        torch.testing.assert_close(model.get_submodule(located.head)(rep), logits)


def check_before_dropout(model: nn.Module, located: Located, x: Tensor, rate: float) -> None:
    """In training the head receives either rep / (1 - rate) or zero, element by element."""
    entered: list[Tensor] = []
    head = model.get_submodule(located.head)
    handle = head.register_forward_pre_hook(lambda _module, args: entered.append(args[0].clone()))
    model.train()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        rep = representation(model, x, located)
    handle.remove()
    kept = entered[0] != 0
    torch.testing.assert_close(entered[0][kept], rep[kept] / (1 - rate))
    dropped = (~kept & (rep != 0)).float().mean().item()
    present = (rep != 0).float().mean().item()
    assert abs(dropped / present - rate) < 0.15


def images(side: int, count: int = 4) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("family", "name", "side"),
    [pytest.param(family, *value, id=family) for family, value in TIMM.items()]
    + [pytest.param(family, *value, id=family, marks=pytest.mark.slow) for family, value in SLOW.items()],
)
def test_timm_family(family: str, name: str, side: int):
    if not timm.is_model(name):
        pytest.skip(f"this version of timm has no {name}")
    model = timm.create_model(name, num_classes=5, drop_rate=0.5)
    assert type(model).__module__.startswith("timm.models.")
    located = prepared(model)
    x = images(side)
    check_logits(model, located, x[:2])
    if family in WITHOUT_DROPOUT:
        assert located.rep == located.head
    else:
        check_before_dropout(model, located, x, rate=0.5)


def test_at_least_forty_timm_families_run_without_the_slow_ones():
    present = [family for family, (name, _) in TIMM.items() if name in timm.list_models(module=family)]
    assert len(present) >= 40


@pytest.mark.parametrize(("name", "side"), TORCHVISION.items(), ids=TORCHVISION)
def test_torchvision_family(name: str, side: int):
    model = torchvision.models.get_model(name, num_classes=5, **EXTRA.get(name, {}))
    located = prepared(model)
    x = images(side)
    check_logits(model, located, x[:2])
    tap = model.get_submodule(located.rep)
    if isinstance(tap, nn.Dropout):
        tap.p = 0.5
        check_before_dropout(model, located, x, rate=0.5)
    else:
        assert located.rep == located.head


@pytest.mark.parametrize(("name", "reason"), REFUSED.items(), ids=REFUSED)
def test_timm_network_refused_with_its_reason(name: str, reason: str):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=5)
    with pytest.raises(ModelError, match=reason):
        locate(model)


def test_torchvision_networks_refused_with_their_reasons():
    with pytest.raises(ModelError, match=CONVOLUTIONAL):
        locate(torchvision.models.squeezenet1_1(num_classes=5))
    with pytest.raises(ModelError, match=r"several heads.*auxiliary"):
        locate(torchvision.models.googlenet(num_classes=5, aux_logits=True, init_weights=False))


@pytest.mark.parametrize("name", ["ViT", "ResNet", "ConvNext", "Swin", "MobileNetV2"])
def test_hugging_face_family(name: str):
    transformers = pytest.importorskip("transformers")
    small = {
        "ViT": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
        "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1], "layer_type": "basic"},
        "ConvNext": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]},
        "Swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": 4},
        "MobileNetV2": {"depth_multiplier": 0.5, "classifier_dropout_prob": 0.5},
    }
    config = getattr(transformers, f"{name}Config")(num_labels=5, image_size=64, **small[name])
    model = getattr(transformers, f"{name}ForImageClassification")(config)
    located = prepared(model)
    check_logits(model, located, images(64, count=2))
    if name == "MobileNetV2":
        check_before_dropout(model, located, images(64), rate=0.5)


def test_page_lists_what_is_verified():
    page = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    names = [name for name, _ in (TIMM | SLOW).values()] + list(TORCHVISION)
    assert [name for name in names if f"`{name}`" not in page] == []
