"""Figures that the papers print in their text, typed anew and compared with the tables."""

import re

import pytest

from holdfast.bench import catalogue
from holdfast.core.errors import UsageError

from .test_published import PAPERS, RECIPES, figure, value


def said(paper):
    return {name: quantity.value for name, quantity in catalogue.in_text(paper).figures.items()}


@pytest.mark.parametrize("paper", PAPERS)
def test_figures_in_the_text_say_what_they_are(paper):
    found = catalogue.in_text(paper)
    assert found.paper == paper
    for quantity in found.figures.values():
        assert quantity.unit
        assert re.match(r"section |abstract|table ", quantity.where)


def test_a_paper_without_figures_in_its_text_is_refused():
    with pytest.raises(UsageError, match=r"no figures in the text of 'zhong2021'; did you mean 'zhong2020'"):
        catalogue.in_text("zhong2021")


def test_figures_in_the_text_typed_anew():
    ptr, l2_sp, rifle = said("zhong2020"), said("li2018"), said("li2020")
    assert (ptr["pictures"], ptr["diagonal_ptr"], ptr["diagonal_plain"]) == (584, 425, 404)
    assert (ptr["entropy_plain"], ptr["entropy_ptr"]) == (1.33, 1.15)
    assert (l2_sp["source_places365"], l2_sp["source_imagenet"]) == (54.7, 76.7)
    assert (l2_sp["sbd_l2_sp"], l2_sp["sbd_l2"]) == (79.9, 78.3)
    assert (rifle["oracle_mse_l2"], rifle["oracle_mse_rifle"]) == (1.16e-2, 3.98e-3)
    assert (rifle["oracle_transport_l2"], rifle["oracle_transport_rifle"]) == (0.1397, 0.1198)


def test_the_text_agrees_with_the_tables():
    ptr, dtnh, rifle = said("zhong2020"), said("wan2019"), said("li2020")
    cub, flowers = RECIPES["zhong2020-table2"], RECIPES["zhong2020-table3"]
    gain = {row: figure(cub, row, "cub200/resnet50").gain for row in ("ptr", "fnp")}
    assert gain["ptr"] - gain["fnp"] == pytest.approx(ptr["cub200_ptr_over_fnp"])
    decay = value("zhong2020-table2", "plain_no_decay", "cub200/resnet50")
    assert decay - value("zhong2020-table2", "plain", "cub200/resnet50") == pytest.approx(ptr["cub200_without_decay"])
    vgg = {row: figure(flowers, row, "flowers102/vgg16").gain for row in ("ptr_vgg16", "pc")}
    assert vgg["ptr_vgg16"] - vgg["pc"] == pytest.approx(ptr["flowers102_ptr_over_pc"])
    fifty = {row: figure(flowers, row, "flowers102/resnet50").gain for row in ("ptr", "fnp")}
    assert fifty["ptr"] - fifty["fnp"] == pytest.approx(ptr["flowers102_ptr_over_fnp"])

    gains = {
        (n, inner, column): value(f"wan2019-table{n}", f"dtnh_{inner}", column)
        - value(f"wan2019-table{n}", inner, column)
        for n in (2, 3, 4)
        for inner in ("l2_sp", "know_dist")
        for column in RECIPES[f"wan2019-table{n}"].columns
    }
    dogs = [gain for (n, *_), gain in gains.items() if n == 4]
    assert min(dogs) == pytest.approx(dtnh["dogs_gain_least"])
    assert max(dogs) == pytest.approx(dtnh["dogs_gain_most"], abs=0.05)
    assert gains[2, "l2_sp", "cifar10"] == pytest.approx(dtnh["cifar10_gain"], abs=0.05)
    assert min(gains.values()) == pytest.approx(dtnh["gain_least"], abs=0.05)
    assert len(gains) == 2 * 12 != dtnh["pairs"]
    # printed as 7, and flagged: the table has less
    assert gains[3, "l2_sp", "flowers102"] == pytest.approx(6.45)
    assert catalogue.in_text("wan2019").figures["flowers102_gain"].doubtful

    more = [
        value("li2020-table1", f"{half}_rifle", column) - value("li2020-table1", half, column)
        for half in ("l2", "l2_sp")
        for column in RECIPES["li2020-table1"].columns
    ]
    assert rifle["gain_most"] == round(max(more))
    assert min(more) > 0
