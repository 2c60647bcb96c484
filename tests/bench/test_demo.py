import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import holdfast.bench.demo as bench
from holdfast.bench.demo import BASELINE, SCRATCH, SETTINGS, Comparison, Setting, compare, comparisons, run, run_all
from holdfast.bench.statistics import paired_difference
from holdfast.cli.demo import demo
from holdfast.cli.main import make_app
from holdfast.core.compose import compose

SHORT = Setting(BASELINE, steps=2)
TUNING = Path(__file__).parents[2] / "results" / "demo" / "tuning.json"


def without_time(result: dict) -> dict:
    return {key: value for key, value in result.items() if key != "seconds"}


def test_it_compares_what_it_promises():
    assert [setting.name for setting in SETTINGS] == [SCRATCH, BASELINE, "l2_sp", "ptr", "rifle", "dtnh"]
    for setting in SETTINGS[2:]:
        assert setting.name in str(compose(setting.method))


def test_all_pretrained_settings_differ_in_the_method_alone():
    plain = SETTINGS[1]
    assert {replace(setting, name="", method="") for setting in SETTINGS[1:]} == {replace(plain, name="", method="")}


def test_settings_are_those_that_tuning_chose():
    chosen = json.loads(TUNING.read_text())["chosen"]
    assert [[s.name, s.method, s.lr, s.head_lr] for s in SETTINGS] == [list(row.values()) for row in chosen]


def test_a_run_repeats_bit_for_bit_and_leaves_the_global_generator():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = run(SHORT, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert without_time(run(SHORT, seed=3)) == without_time(first)


def test_methods_of_zero_strength_equal_plain():
    zero = replace(SHORT, method="l2_sp(alpha=0, beta=0)")
    assert without_time(run(zero, seed=0)) == without_time(run(SHORT, seed=0)) | {
        "settings": run(zero, seed=0)["settings"]
    }


def test_seeds_change_the_run():
    assert run(SHORT, seed=0)["test.nll"] != run(SHORT, seed=1)["test.nll"]


def test_heads_start_alike_in_all_settings():
    pretrained, scratch = (bench._network(replace(SHORT, pretrained=start), seed=5) for start in (True, False))
    assert torch.equal(pretrained.fc.weight, scratch.fc.weight)
    assert not torch.equal(pretrained.body[0].weight, scratch.body[0].weight)


def test_pretrained_statistics_stay():
    model = bench._network(SHORT, seed=0)
    before = model.body[1].running_mean.clone()
    model.train()(torch.randn(4, 3, 16, 16))
    assert torch.equal(before, model.body[1].running_mean)


def test_processes_give_what_one_process_gives():
    settings, seen = (SHORT, replace(SHORT, name="l2_sp", method="l2_sp(alpha=0.1)")), []
    together = run_all(settings, range(2), workers=2, done=lambda: seen.append(1), part="val")
    alone = run_all(settings, range(2), workers=1, done=lambda: None, part="val")
    assert list(map(without_time, together)) == list(map(without_time, alone))
    assert len(seen) == 4


def test_the_bold_comparison_changes_the_bodys_rate_alone():
    chosen, bold = comparisons()
    for setting in bold.settings:
        twin = next(other for other in chosen.settings if other.name == setting.name)
        assert setting == replace(twin, lr=10 * twin.lr)
    assert SCRATCH not in {setting.name for setting in bold.settings}


def test_rows_pair_by_seed():
    plain = [{"method": BASELINE, "seed": s, "test.accuracy": 0.8 + s / 100, "seconds": 1.0} for s in range(3)]
    other = [{"method": "ptr", "seed": s, "test.accuracy": 0.83 + s / 50, "seconds": 2.0} for s in (2, 0, 1)]
    first, second = compare(plain + other)
    assert first["gain"] is None
    expected = paired_difference([0.83, 0.85, 0.87], [0.80, 0.81, 0.82])
    assert second["gain"]["mean"] == pytest.approx(expected.mean)
    assert second["gain"]["low"] == pytest.approx(expected.low)
    assert (second["mean"], second["runs"]) == (pytest.approx(0.85), 3)


@pytest.fixture
def short_demo(monkeypatch):
    settings = (SHORT, replace(SHORT, name="l2_sp", method="l2_sp(alpha=0.1)"))
    one = Comparison("chosen-rate", "A title", settings, ("A note.",))
    monkeypatch.setattr(bench, "comparisons", lambda: (one,))
    monkeypatch.setattr(bench.os, "sched_getaffinity", lambda _pid: {0}, raising=False)


@pytest.mark.usefixtures("short_demo")
def test_the_command_writes_runs_summary_and_page(tmp_path, capsys):
    demo(out=tmp_path / "a" / "b", seeds=2)
    printed = capsys.readouterr().out
    assert "A title" in printed
    assert "l2_sp" in printed
    folder = tmp_path / "a" / "b"
    stored = json.loads((folder / "chosen-rate" / "l2_sp-1.json").read_text())
    assert stored["settings"]["method"] == "l2_sp(alpha=0.1)"
    assert stored["versions"]["torch"] == torch.__version__
    summary = json.loads((folder / "summary.json").read_text())
    assert [row["method"] for row in summary["comparisons"]["chosen-rate"]["methods"]] == [BASELINE, "l2_sp"]
    assert "A note." in (folder / "chosen-rate.html").read_text()


@pytest.mark.usefixtures("short_demo")
def test_json_is_all_that_is_printed(tmp_path, capsys):
    demo(out=tmp_path, seeds=2, as_json=True)
    streams = capsys.readouterr()
    assert json.loads(streams.out)["comparisons"].keys() == {"chosen-rate"}
    assert streams.err == ""


def test_one_seed_is_refused():
    result = CliRunner().invoke(make_app(("demo",)), ["--seeds", "1"])
    assert result.exit_code == 2


def test_the_command_loads_nothing_heavy_before_it_runs():
    code = (
        "import sys, holdfast.cli.demo; print([m for m in ('torch', 'timm', 'matplotlib', 'rich') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "torch" not in found
    assert "timm" not in found
    assert "matplotlib" not in found
