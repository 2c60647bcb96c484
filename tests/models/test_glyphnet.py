import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from holdfast.core.locate import locate, representation
from holdfast.data.digits import digits, draw
from holdfast.data.glyphs import CHARACTERS, as_input, deform, render
from holdfast.models.embedded import EMBEDDED
from holdfast.models.glyphnet import SOURCE_CLASSES, GlyphNet

WEIGHTS = EMBEDDED["glyphnet"].weights


@pytest.fixture(scope="module")
def pretrained() -> GlyphNet:
    model = GlyphNet()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


def accuracy_of_nearest_mean(model: GlyphNet, seed: int) -> float:
    """Name each validation digit by the nearest mean of two labels per class in the representation."""
    few, many = draw(2, seed), digits("val")
    with torch.no_grad():
        known = torch.nn.functional.normalize(representation(model, few.images), dim=1)
        asked = torch.nn.functional.normalize(representation(model, many.images), dim=1)
    means = torch.stack([known[few.labels == label].mean(dim=0) for label in range(10)])
    return float(((asked @ means.T).argmax(dim=1) == many.labels).float().mean())


def test_it_is_small_enough_to_ship():
    assert sum(parameter.numel() for parameter in GlyphNet().parameters()) <= 250_000
    assert WEIGHTS.stat().st_size < 1_000_000


def test_the_file_says_what_it_was_trained_on():
    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
    assert metadata["classes"] == CHARACTERS
    assert len(CHARACTERS) == SOURCE_CLASSES
    assert {"seed", "steps"} <= set(metadata)


def test_half_precision_is_widened_on_loading(pretrained):
    assert all(p.dtype == torch.float32 for p in pretrained.parameters())


def test_head_of_representation_is_the_output(pretrained):
    located = locate(pretrained)
    assert located.head == "fc"
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(pretrained.fc(representation(pretrained, x)), pretrained(x))


def test_it_names_fresh_glyphs(pretrained):
    glyphs = render()
    generator = torch.Generator().manual_seed(123)
    places = torch.randint(len(glyphs.labels), (1024,), generator=generator)
    with torch.no_grad():
        named = pretrained(as_input(deform(glyphs.images[places], generator))).argmax(dim=1)
    # at least four in five of eighty classes, some of which are one shape (o O ο): the script prints the exact share
    assert (named == glyphs.labels[places]).float().mean() > 0.8


def test_what_it_learnt_helps_on_digits_that_it_never_saw(pretrained):
    torch.manual_seed(0)
    untrained = GlyphNet().eval()
    for seed in range(3):
        assert accuracy_of_nearest_mean(pretrained, seed) > accuracy_of_nearest_mean(untrained, seed)


@pytest.mark.parametrize("side", [4, 16, 33])
def test_other_sizes_pass(side):
    assert GlyphNet(7).eval()(torch.zeros(2, 3, side, side)).shape == (2, 7)
