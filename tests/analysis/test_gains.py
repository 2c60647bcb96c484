"""Gains of a stored comparison: what is said of them, and the figures over numbers and sources."""

import pytest

from holdfast.analysis.sweeps.gain_figures import far_apart, looks
from holdfast.analysis.sweeps.gains import gains
from holdfast.analysis.sweeps.sweep import read_sweep
from holdfast.bench.catalogue import load
from holdfast.bench.claims import Claims
from holdfast.bench.grid import Scope
from holdfast.bench.plan import make_plan
from holdfast.bench.statistics import holm, paired_difference
from holdfast.bench.work import Worker

RECIPE = """
title: Three ways
data:
  few: {data: reds, samples_per_class: 2}
  more: {data: reds, samples_per_class: 8}
models:
  near: {model: "timm:test_resnet", source: near things}
  far: {model: "timm:test_resnet", source: far things, settings: {bn: train}}
methods:
  plain: {method: plain}
  l2: {method: l2}
  ptr: {method: ptr, columns: [few/near, more/near]}
seeds: 4
"""
NOISE = (0.0, 0.01, -0.01, 0.02)


def figures(settings):
    """l2 is always 5 points ahead, give or take a little; ptr is ahead and behind in turns."""
    wobble = 0.002 * (settings.seed % 2)
    better = {"plain": 0.0, "l2": 0.05 + wobble, "ptr": 0.03 * (-1) ** settings.seed, "fnp": -0.6}[settings.method]
    accuracy = 0.7 + NOISE[settings.seed] + better + 0.1 * (settings.samples_per_class == 8)
    return {"test.accuracy": accuracy, "test.nll": 1 - accuracy, "test.ece": 0.1, "seconds": 1.0}


@pytest.fixture
def found(tmp_path):
    """The finding of the comparison with all its runs, or those of ``only``."""
    file = tmp_path / "mine.yaml"
    file.write_text(RECIPE)
    (tmp_path / "reds").mkdir()

    def call(only=None, at="out"):
        recipe = load(file)[1]
        plan = make_plan(recipe, Scope(tmp_path, only=only), tmp_path / at, writes=True)
        with Claims(plan.store.claims) as claims:
            Worker(plan, claims, fit=figures).work()
        return gains(read_sweep(tmp_path / at, str(file)))

    return call


def test_gains_are_paired_and_corrected_over_the_whole_table(found):
    cells = {(cell["row"], cell["column"]): cell for cell in found().data["cells"]}
    assert len(cells) == 4 + 4 + 2
    few = cells["l2", "few/near"]
    expected = paired_difference(list(few["values"].values()), list(cells["plain", "few/near"]["values"].values()))
    assert few["gain"]["mean"] == pytest.approx(expected.mean) == pytest.approx(5.1)
    compared = [cell["gain"] for cell in cells.values() if cell["gain"] is not None]
    assert len(compared) == 6
    assert [gain["p_holm"] for gain in compared] == pytest.approx(holm([gain["p"] for gain in compared]))
    assert few["nll"]["mean"] == pytest.approx(1 - few["mean"] / 100)
    assert few["nll"]["difference"]["mean"] == pytest.approx(-0.051)
    kind = [cell["nll"]["difference"] for cell in cells.values() if cell["nll"]["difference"] is not None]
    assert [gap["p_holm"] for gap in kind] == pytest.approx(holm([gap["p"] for gap in kind]))


def test_what_is_beyond_chance_and_what_is_open_is_said_column_by_column(found):
    text = found().text
    assert "few/near (plain 70.5 ± 1.3, 4 runs): beyond chance after Holm's correction: l2 +5.1 points" in text
    assert "not told apart: ptr." in text
    assert text.count("beyond chance") == 4
    assert "NLL after Holm's correction, less is better: l2 -0.05 (-0.05 to -0.05)." in text
    assert text.count("ECE: no difference after Holm's correction.") == 4


def test_figures_over_numbers_and_sources_come_where_columns_differ_in_them(found):
    names = [figure.name for figure in found().figures]
    columns = ("few-near", "few-far", "more-near", "more-far")
    each = [f"{kind}-{column}" for kind in ("gains", "quality") for column in columns]
    assert sorted(names) == sorted([*each, "images-few-near", "images-few-far", "sources-few", "sources-more"])


def test_a_figure_across_shows_the_rows_that_stand_in_several_of_its_columns(found):
    labels = {figure.name: figure.label for figure in found().figures}
    assert "ptr on few/near" in labels["images-few-near"]
    assert "ptr on more/near" in labels["images-few-near"]
    assert "l2 on few/far" in labels["sources-few"]
    assert "ptr" not in labels["sources-few"]
    sparse = found(only="(plain or ptr) and few* or plain and more*", at="sparse")
    assert not [figure.name for figure in sparse.figures if figure.name.startswith(("images", "sources"))]


def test_rows_of_one_colour_differ_in_their_line():
    drawn = list(looks(["l2_sp", "know_dist", "l2_sp_fisher", "l2_sp+ptr"]))
    assert drawn[0] != drawn[3]
    assert drawn[0][0] == drawn[3][0]
    assert len(set(drawn)) == 4


@pytest.mark.parametrize(
    ("values", "far"),
    [
        ([1.0, 0.0, -2.0, 3.0, -60.0], [4]),
        ([-0.2, -27.5, -1.5, 0.3, -44.9, -0.7, 0.5], [1, 4]),
        ([1.0, 0.0, -2.0, 3.0, -9.0], []),  # ten points do not hide the others
        ([40.0, 0.0, -20.0, 30.0, -60.0], []),  # all lie far apart
        ([0.0, 1.0, 0.5, -60.0], []),  # too few to say what is usual
    ],
)
def test_a_row_far_from_all_others_is_told_in_numbers(values, far):
    assert [place for place, each in enumerate(far_apart(values)) if each] == far


def test_a_far_row_does_not_stretch_the_axis(found, tmp_path):
    finding = found(only="few/near")
    assert "told in numbers" not in finding.figures[0].caption
    recipe = tmp_path / "mine.yaml"
    rows = "".join(f"  l2_{n}: {{method: l2, settings: {{epochs: {n}}}}}\n" for n in range(1, 5))
    recipe.write_text(RECIPE.replace("seeds: 4", f"{rows}  worst: {{method: fnp}}\nseeds: 4"))
    wide = found(only="few/near", at="wide")
    assert all("A row far from all others is told in numbers." in each.caption for each in wide.figures)
    assert "\N{MINUS SIGN}60.0 (" in wide.figures[0].svg.decode()


def test_one_column_has_no_figure_across(found):
    finding = found(only="few/near")
    assert [figure.name for figure in finding.figures] == ["gains-few-near", "quality-few-near"]
    assert "4 runs each" in finding.figures[0].caption
    assert "Not run yet in more/far: plain, l2." in finding.notes
    assert not any("Not all runs are finished" in note for note in finding.notes)


def test_on_the_command_line(found, tmp_path, capsys):
    from holdfast.cli.main import command

    found(only="few/near")
    call = ["analyse", "gains", str(tmp_path / "out"), "--recipe", str(tmp_path / "mine.yaml")]
    assert command([*call, "--out", str(tmp_path / "shown")]) == 0
    assert "beyond chance" in capsys.readouterr().out
    assert (tmp_path / "shown" / "gains-few-near.png").is_file()
    assert command(["analyse", "gains", str(tmp_path / "out"), "--recipe", "study-mni"]) == 2
    assert "did you mean 'study-mini'?" in capsys.readouterr().err
