"""What the papers print: figures typed anew, and whether those of a table agree with one another and with others."""

import pytest

from holdfast.bench import catalogue

RECIPES = {name: catalogue.load(name)[1] for name in catalogue.names()}
PRINTED = {name: recipe for name, recipe in RECIPES.items() if recipe.published}
PAPERS = ("li2018", "li2020", "wan2019", "zhong2020")

# rows, columns, figures
SIZES = {
    "li2018-figure1": (5, 5, 0),
    "li2018-figure2": (6, 8, 0),
    "li2018-figure3": (20, 2, 4),
    "li2018-table2": (7, 10, 34),
    "li2018-table4": (2, 6, 12),
    "li2018-table5": (3, 10, 15),
    "li2020-table1": (16, 9, 144),
    "li2020-table2": (8, 9, 54),
    "wan2019-table2": (5, 4, 20),
    "wan2019-table3": (5, 4, 20),
    "wan2019-table4": (5, 4, 20),
    "zhong2020-table1": (3, 5, 15),
    "zhong2020-table2": (9, 2, 11),
    "zhong2020-table3": (6, 4, 12),
    "zhong2020-table4": (8, 4, 13),
    "zhong2020-table5": (7, 4, 14),
}

# typed from the papers' text, not from the recipes: row, column, value, std, gain
TYPED = {
    "zhong2020-table1": [
        ("plain", "flowers102", 83.92, 0.36, None),
        ("ptr_smooth_l1", "stanford40", None, None, 2.50),
        ("ptr_l2", "webface500", None, None, 0.83),
    ],
    "zhong2020-table2": [
        ("pc", "cub200/resnet50", 80.3, None, 2.1),
        ("ptr", "cub200/resnet50", 81.9, None, 1.6),
        ("plain_no_decay", "cub200/resnet50", 81.0, None, None),
    ],
    "zhong2020-table3": [
        ("btfw", "flowers102/resnet152", 94.7, None, 2.4),
        ("fnp", "flowers102/resnet50", 91.5, None, 0.5),
    ],
    "zhong2020-table4": [("ind_bias", "mit67/resnet101", 78.0, None, 0.5), ("lwf", "mit67/vgg16", 74.7, None, 0.7)],
    "zhong2020-table5": [
        ("fnp", "caltech256-30/resnet101", 83.8, None, -0.2),
        ("ptr_no_decay", "caltech256-60/resnet101", 87.2, None, 0.3),
        ("btfw", "caltech256-60/resnet152", 89.1, None, 2.7),
    ],
    "li2018-table2": [
        ("l2_sp", "dogs/imagenet", 74.9, 0.2, None),
        ("l2_star", "indoor67/places365", 80.7, 0.9, None),
        ("l2_sp_fisher_star", "caltech256-60/imagenet", 87.9, 0.1, None),
        ("reference", "food101/imagenet", 90.3, None, None),
    ],
    "li2018-table4": [
        ("l2", "cityscapes/pspnet", 78.2, None, None),
        ("l2_sp", "cityscapes/deeplab_coco", 73.2, None, None),
    ],
    "li2018-table5": [
        ("l2_sp_fisher", "food101/imagenet", 53.2, None, None),
        ("l2", "caltech256-30/imagenet", 15.4, None, None),
    ],
    "li2018-figure3": [("l2", "dogs", 66.3, None, None)],
    "wan2019-table2": [("dtnh_l2_sp", "cifar10", 96.41, 0.11, None), ("know_dist", "mit67", 78.05, 0.32, None)],
    "wan2019-table3": [("l2_sp", "flowers102", 77.66, 0.13, None), ("plain", "caltech256", 73.13, 0.20, None)],
    "wan2019-table4": [("dtnh_know_dist", "mit67", 76.74, 0.26, None), ("dtnh_l2_sp", "flowers102", 89.98, 0.04, None)],
    "li2020-table1": [
        ("l2_stochastic_depth", "indoor67", 60.36, 2.11, None),
        ("l2_disturb_label", "dtd", 66.71, 0.33, None),
        ("l2_cyclic_lr", "food101-150", 75.31, 0.05, None),
        ("l2_sp", "dogs", 88.32, 0.14, None),
        ("l2_sp_conv_dropout", "aircraft", 74.26, 0.21, None),
        ("l2_sp_rifle", "food101-150", 77.36, 0.04, None),
    ],
    "li2020-table2": [("l2_rifle_b", "dtd", 64.11, 0.84, None), ("l2_sp_rifle_a", "food101-150", 77.96, 0.08, None)],
}


def figure(recipe, row, column, metric=None):
    """The only printed figure of a cell, or the one of a metric."""
    found = [p for p in recipe.published if (p.row, p.column) == (row, column) and metric in (None, p.metric)]
    assert len(found) <= 1, (row, column)
    return found[0] if found else None


def value(name, row, column, metric=None):
    return figure(RECIPES[name], row, column, metric).value


def decimals(number):
    return len(repr(number).partition(".")[2])


def test_every_table_of_every_paper_is_there():
    assert {name for name, recipe in RECIPES.items() if recipe.paper is not None} == SIZES.keys()
    assert {recipe.paper.key for recipe in PRINTED.values()} == set(PAPERS)


@pytest.mark.parametrize("name", SIZES)
def test_rows_columns_and_figures_are_as_many_as_printed(name):
    recipe = RECIPES[name]
    assert (len(recipe.methods), len(recipe.columns), len(recipe.published)) == SIZES[name]


@pytest.mark.parametrize(("name", "typed"), [(name, typed) for name, rows in TYPED.items() for typed in rows])
def test_figures_typed_from_the_papers(name, typed):
    row, column, printed, std, gain = typed
    found = figure(RECIPES[name], row, column)
    assert (found.value, found.std, found.gain) == (printed, std, gain)


def test_every_table_with_figures_has_some_typed_anew():
    assert TYPED.keys() == PRINTED.keys()


def base_of(recipe, printed):
    """What a figure's gain is measured against: printed beside it, or in the row that it is compared with."""
    if printed.baseline is not None:
        return printed.baseline
    against = figure(recipe, recipe.against(printed.row), printed.column, printed.metric)
    return None if against is None else against.value


GAINS = [(name, p) for name, recipe in PRINTED.items() for p in recipe.published if p.gain is not None]


@pytest.mark.parametrize(("name", "printed"), GAINS, ids=[f"{n}: {p.row}, {p.column}, {p.metric}" for n, p in GAINS])
def test_gains_and_error_reductions_follow_from_the_levels(name, printed):
    base = base_of(RECIPES[name], printed)
    assert base is not None
    if printed.value is not None:  # to the last digit: nowhere is a gain rounded otherwise than its levels
        assert printed.value - base == pytest.approx(printed.gain, abs=1e-9)
    if printed.error_reduction is not None:
        half = 0.5 * 10.0 ** -decimals(printed.gain)
        least = 100 * (printed.gain - half) / (100 - base + half)
        most = 100 * (printed.gain + half) / (100 - base - half)
        assert least - 0.005 <= printed.error_reduction <= most + 0.005
        assert printed.error_reduction == pytest.approx(100 * printed.gain / (100 - base), abs=0.0051)


def test_gains_are_checked_in_every_table_of_the_paper_that_prints_them():
    assert {name for name, _ in GAINS} == {name for name in SIZES if name.startswith("zhong2020")}
    assert sum(p.error_reduction is not None for _, p in GAINS) == 10


@pytest.mark.parametrize("name", PRINTED)
def test_figures_are_plausible(name):
    """No slip of the point: levels are per cents, a spread is small, and a table has one number of decimals."""
    recipe = RECIPES[name]
    for printed in recipe.published:
        assert printed.metric == "source_accuracy_drop" or printed.value is None or 40 < printed.value < 98
        assert printed.std is None or printed.std < 2.2
        assert printed.gain_std is None or printed.gain_std < 1
    levels = [p.value for p in recipe.published if p.value is not None]
    assert max(map(decimals, levels), default=2) == (2 if name in TWO_DECIMALS else 1)


TWO_DECIMALS = {name for name in SIZES if name.startswith(("wan2019", "li2020"))} | {"zhong2020-table1"}


def test_tables_of_one_paper_agree():
    small = {"flowers102": "zhong2020-table3", "cub200": "zhong2020-table2", "mit67": "zhong2020-table4"}
    for data, other in small.items():
        column = f"{data}/vgg16"
        plain = value("zhong2020-table1", "plain", data)
        gain = figure(RECIPES["zhong2020-table1"], "ptr_smooth_l1", data).gain
        assert value(other, "plain", column) == pytest.approx(plain, abs=0.0501)
        assert figure(RECIPES[other], "ptr_vgg16", column).gain == pytest.approx(gain, abs=0.0501)
    for half in ("l2", "l2_sp"):
        for column in RECIPES["li2020-table1"].columns:
            one, two = (figure(RECIPES[f"li2020-table{n}"], f"{half}_rifle", column) for n in (1, 2))
            assert (one.value, one.std) == (two.value, two.std)
    for row in ("l2", "l2_sp"):
        for data in ("dogs", "caltech256-30"):
            assert value("li2018-figure3", row, data) == value("li2018-table2", row, f"{data}/imagenet")


def test_what_one_paper_quotes_is_what_the_other_prints():
    for data in ("caltech256-30", "caltech256-60"):
        quoted = figure(RECIPES["zhong2020-table5"], "ind_bias", f"{data}/resnet101")
        assert quoted.origin == "quoted"
        assert quoted.baseline == value("li2018-table2", "l2", f"{data}/imagenet")
        assert quoted.value == value("li2018-table2", "l2_sp", f"{data}/imagenet")
        quoted = figure(RECIPES["zhong2020-table5"], "btfw", f"{data}/resnet152")
        assert quoted.value == value("li2018-table2", "reference", f"{data}/imagenet")


@pytest.mark.parametrize("name", [name for name in PRINTED if name.startswith("wan2019")])
def test_dtnh_is_printed_above_what_it_wraps(name):
    for column in RECIPES[name].columns:
        for inner in ("l2_sp", "know_dist"):
            assert value(name, f"dtnh_{inner}", column) > value(name, inner, column)


QUOTED = {"joint_train", "lwf", "pc", "btfw", "ind_bias", "reference"}


def test_rows_of_other_papers_are_quoted_and_no_others():
    for recipe in PRINTED.values():
        for printed in recipe.published:
            assert (printed.origin == "quoted") == (printed.row in QUOTED)


def test_what_is_hard_to_read_is_flagged():
    doubtful = {(name, p.row, p.column) for name, recipe in PRINTED.items() for p in recipe.published if p.doubtful}
    assert ("wan2019-table4", "dtnh_know_dist", "mit67") in doubtful
    assert ("li2018-table4", "l2", "cityscapes/pspnet") in doubtful
    assert ("li2018-table5", "l2", "caltech256-30/imagenet") in doubtful
    assert {name for name, _, _ in doubtful} <= {"wan2019-table4", "li2018-table2", "li2018-table4", "li2018-table5"}
    assert len(doubtful) == 12
