import pytest
import torch

from holdfast.core.errors import DataError, UsageError
from holdfast.data.digits import CLASSES, digits, draw
from holdfast.data.glyphs import CELLS, CHARACTERS, FONTS, Deformation, as_input, deform, render

FEW = ("DejaVuSans", "cmr10")
STILL = Deformation(rotation=0, shear=0, stretch=0, shift=0, elastic=0, squeeze=0, broad=0.4, thin=0.4, ragged=0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_class_is_drawn_and_fills_its_picture():
    glyphs = render("IoW", FEW)
    assert glyphs.labels.tolist() == [0, 1, 2, 0, 1, 2]
    for image in glyphs.images[:, 0]:
        inked = (image > 0.3).nonzero()
        side = (inked.max(dim=0).values - inked.min(dim=0).values).max()
        assert side > 0.8 * image.shape[-1]


def test_fonts_without_a_character_are_left_out():
    glyphs = render("Aλ", FEW)
    assert glyphs.labels.tolist() == [0, 1, 0]  # cmr10 has no lambda


def test_the_source_task_has_none_of_the_targets_classes():
    assert not set("0123456789") & set(CHARACTERS)
    assert len(set(CHARACTERS)) == len(CHARACTERS)


def test_a_font_that_matplotlib_does_not_ship_is_named():
    with pytest.raises(DataError, match=r"missing: Nowhere\.ttf"):
        render("A", (*FEW, "Nowhere"))


def test_a_character_that_no_font_has_is_named():
    with pytest.raises(DataError, match="none has '中'"):
        render("A中", FEW)


def test_labels_follow_the_pictures():
    glyphs = render("OX", FONTS[:8])
    flat = glyphs.images.flatten(1)
    centred = flat - flat.mean(dim=1, keepdim=True)
    alike = torch.nn.functional.cosine_similarity(centred[:, None], centred[None], dim=2)
    nearest = alike.fill_diagonal_(-1).argmax(dim=1)  # the same character in another font
    assert torch.equal(glyphs.labels[nearest], glyphs.labels)


def test_cells_are_counts_of_a_black_and_white_raster():
    glyphs = render("AB", FEW)
    cells = deform(glyphs.images, seeded(0))
    assert cells.shape == (4, 1, CELLS, CELLS)
    assert torch.equal((cells * 16).round() / 16, cells)
    assert 0 <= cells.min() < cells.max() <= 1


def test_deformation_depends_on_the_generator_alone():
    images = render("AB", FEW).images
    torch.manual_seed(1)
    first = deform(images, seeded(3))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, deform(images, seeded(3)))
    assert not torch.equal(first, deform(images, seeded(4)))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())  # the global generator did not move


def test_without_bounds_nothing_is_random():
    images = render("AB", FEW).images
    assert torch.equal(deform(images, seeded(0), STILL), deform(images, seeded(1), STILL))


def test_a_lower_threshold_makes_a_broader_stroke():
    images = render("AB", FEW).images
    broad = Deformation(**{**vars(STILL), "broad": 0.2, "thin": 0.2})
    assert deform(images, seeded(0), broad).sum() > deform(images, seeded(0), STILL).sum()


@pytest.mark.parametrize("name", ["rotation", "shear", "stretch", "shift", "elastic", "squeeze", "ragged"])
def test_each_bound_bends(name):
    images = render("AB", FEW).images
    bent = Deformation(**{**vars(STILL), name: 0.3})
    assert not torch.equal(deform(images, seeded(0), bent), deform(images, seeded(0), STILL))


def test_input_is_what_the_network_takes():
    x = as_input(torch.full((2, 1, CELLS, CELLS), 0.3))
    assert x.shape == (2, 3, 16, 16)
    assert torch.allclose(x, torch.zeros_like(x), atol=1e-6)


def test_glyphs_resemble_the_digits_in_ink():
    glyphs = render()
    places = torch.randint(len(glyphs.labels), (512,), generator=seeded(0))
    ours = as_input(deform(glyphs.images[places], seeded(1)))
    theirs = digits("pool").images
    assert abs(ours.mean() - theirs.mean()) < 0.25 * theirs.std()


def test_parts_are_disjoint_stratified_and_whole():
    parts = {part: digits(part) for part in ("pool", "val", "test")}
    assert sum(len(part) for part in parts.values()) == 1797
    rows = torch.cat([part.images.flatten(1) for part in parts.values()])
    assert len(rows.unique(dim=0)) == 1797  # no picture occurs twice
    counts = {name: torch.bincount(part.labels) for name, part in parts.items()}
    share = counts["test"] / sum(counts.values())
    assert ((share - 0.5).abs() < 0.01).all()
    assert len(counts["pool"]) == CLASSES


def test_draws_are_balanced_seeded_nested_and_from_the_pool():
    one, two = draw(1, seed=7), draw(2, seed=7)
    assert torch.bincount(two.labels).tolist() == [2] * CLASSES
    assert torch.equal(two.images, draw(2, seed=7).images)
    assert not torch.equal(two.images, draw(2, seed=8).images)
    pool = {tuple(row) for row in digits("pool").images.flatten(1).tolist()}
    smaller, larger = ({tuple(row) for row in part.images.flatten(1).tolist()} for part in (one, two))
    assert smaller < larger <= pool


@pytest.mark.parametrize("per_class", [0, -1, 1000])
def test_a_draw_that_the_pool_cannot_give_is_refused(per_class):
    with pytest.raises(UsageError, match="labels per class"):
        draw(per_class, seed=0)
