"""RIFLE's MLP experiment: runs compared, kept on disk and taken up again; the finding and the command."""

import json
import sys
from dataclasses import replace

import pytest

from holdfast.analysis.theory.rifle_oracle import readings
from holdfast.analysis.theory.rifle_oracle import runs as kept
from holdfast.analysis.theory.rifle_oracle.compared import TEST, as_data, compared
from holdfast.analysis.theory.rifle_oracle.experiment import PRINTED, rifle_oracle
from holdfast.analysis.theory.rifle_oracle.readings import Reading
from holdfast.analysis.theory.rifle_oracle.run import Arm, Run, run
from holdfast.analysis.theory.rifle_oracle.runs import RUNS, run_all, stored
from holdfast.analysis.theory.rifle_oracle.transport import COSTS
from holdfast.core.errors import DataError

TINY = Reading(
    "tiny", "small", inputs=6, hidden=4, samples=20, batch=8, source_epochs=3, epochs=4, rifle="rifle(periods=2)"
)
OTHER = replace(TINY, name="other", noise=0.01)


def quiet(done, total):
    pass


def made_up(seed, l2, rifle, distances=(1.0, 1.0)):
    def arm(test, distance):
        return Arm(test, 0.5, dict.fromkeys(COSTS, distance))

    arms = {"start": arm(9.0, 2.0), "l2": arm(l2, distances[0]), "rifle": arm(rifle, distances[1])}
    return Run(seed, arms, 0.1, 4.0, 1.0)


def test_verdicts_are_read_off_the_interval():
    lower = compared(TINY, {s: made_up(s, 1.0 + s, 0.5 + s + 0.01 * s, (1.0, 1.5 + 0.1 * s)) for s in range(4)})
    assert lower.test.verdict == "holds"
    assert lower.test.difference.mean == pytest.approx(-0.485)
    assert lower.test.percent[0] == pytest.approx(100 * -0.485 / 2.5)
    assert lower.measures["units"].verdict == "reversed"
    assert lower.both == []
    both = compared(TINY, {s: made_up(s, 2.0, 1.0 + 0.01 * s, (2.0, 1.0)) for s in range(3)})
    assert both.both == list(COSTS)
    unsure = compared(TINY, {s: made_up(s, 1.0, 1.0 + (-1) ** s) for s in range(4)})
    assert unsure.test.verdict == "open"
    assert unsure.measures["inputs"].verdict == "open"  # no difference at all


def test_probabilities_are_corrected_over_readings():
    results = [
        compared(each, {s: made_up(s, 1.0, 0.9 + wide * (-1) ** s) for s in range(6)})
        for each, wide in ((TINY, 0.05), (OTHER, 0.5))
    ]
    data = as_data(results)
    alone = [each.test.difference.p for each in results]
    assert data[0]["measures"][TEST]["holm_p"] == pytest.approx(2 * alone[0])
    assert data[1]["measures"][TEST]["holm_p"] == pytest.approx(alone[1])
    assert data[0]["seeds"] == 6


# -- runs on disk ----------------------------------------------------------------------------------------
@pytest.fixture
def counted(monkeypatch):
    """Which runs were really done."""
    done = []

    def counting(reading, seed):
        done.append((reading.name, seed))
        return run(reading, seed)

    monkeypatch.setattr(kept, "run", counting)
    return done


def test_what_is_done_is_not_done_again(tmp_path, counted):
    told = []
    first = run_all([TINY, OTHER], 2, tmp_path, 1, quiet)
    assert counted == [("tiny", 0), ("other", 0), ("tiny", 1), ("other", 1)]
    again = run_all([TINY, OTHER], 3, tmp_path, 1, lambda done, total: told.append((done, total)))
    assert counted[4:] == [("tiny", 2), ("other", 2)]
    assert told == [(4, 6), (5, 6), (6, 6)]
    assert {seed: again["tiny"][seed] for seed in (0, 1)} == first["tiny"]
    assert sorted(run_all([TINY], 1, tmp_path, 1, quiet)["tiny"]) == [0]  # not more seeds than asked for


def test_an_interrupted_grid_keeps_what_was_done(tmp_path, monkeypatch):
    def interrupted(reading, seed):
        if seed == 1:
            raise KeyboardInterrupt
        return run(reading, seed)

    monkeypatch.setattr(kept, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_all([TINY], 2, tmp_path, 1, quiet)
    assert list(stored(tmp_path, TINY)) == [0]


def test_runs_with_other_settings_do_not_count(tmp_path, counted):
    run_all([TINY], 1, tmp_path, 1, quiet)
    run_all([replace(TINY, about="other words")], 1, tmp_path, 1, quiet)
    assert len(counted) == 1
    run_all([replace(TINY, lr=0.02)], 1, tmp_path, 1, quiet)
    assert len(counted) == 2


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"settings": {}}x', "{}"])
def test_a_file_that_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / RUNS / "tiny.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(DataError, match=r"tiny\.json: expected the runs of a reading"):
        stored(tmp_path, TINY)


@pytest.mark.slow
def test_several_processes_find_the_same(tmp_path):
    alone = run_all([TINY, OTHER], 2, tmp_path / "a", 1, quiet)
    together = run_all([TINY, OTHER], 2, tmp_path / "b", 2, quiet)
    for name, seeds in alone.items():
        for seed, each in seeds.items():
            assert together[name][seed].arms == each.arms


# -- the finding and the command -------------------------------------------------------------------------
@pytest.fixture
def tiny_readings(monkeypatch):
    monkeypatch.setattr(readings, "READINGS", (TINY, OTHER))


def test_the_finding_says_what_its_data_say(tmp_path, tiny_readings):
    finding = rifle_oracle(tmp_path, seeds=3)
    stored_ = json.loads(finding.write(tmp_path).read_text())
    assert stored_["data"]["printed"] == PRINTED
    assert [each["name"] for each in stored_["figures"]] == ["rifle-oracle-levels", "rifle-oracle-orders"]
    assert all("3 seeds of each reading" in each["caption"] for each in stored_["figures"])
    verdicts = [each["measures"][TEST]["verdict"] for each in stored_["data"]["readings"]]
    assert f"above it in {verdicts.count('reversed')} of 2 readings" in stored_["text"]
    base = stored_["data"]["readings"][0]["measures"][TEST]
    runs = [stored(tmp_path, TINY)[seed].arms for seed in range(3)]
    assert base["l2"] == pytest.approx(sum(arms["l2"].test for arms in runs) / 3)
    assert f"from {base['l2']:.3g} with L2 to {base['rifle']:.3g} with RIFLE" in stored_["text"]


def test_the_command_goes_on_where_it_was(holdfast, tmp_path, tiny_readings, counted):
    words = ("analyse", "rifle-oracle", "--reading", "tiny", "--out", tmp_path)
    done = holdfast(*words, "--seeds", 2)
    assert (done.code, done.err) == (0, "")
    assert "1 reading" in done.out
    done = holdfast(*words, "--seeds", 3, "--json")
    assert done.code == 0
    assert json.loads(done.out)["inputs"] == {"seeds": 3, "readings": ["tiny"]}
    assert counted == [("tiny", seed) for seed in range(3)]


def test_mistakes_are_one_line(holdfast, tmp_path, monkeypatch):
    done = holdfast("analyse", "rifle-oracle", "--reading", "bass", "--out", tmp_path)
    assert done.code == 2
    assert "unknown reading 'bass'; did you mean 'base'?" in done.error
    monkeypatch.setitem(sys.modules, "ot", None)
    done = holdfast("analyse", "rifle-oracle", "--out", tmp_path)
    assert done.code == 2
    assert "pip install 'holdfast[analysis]'" in done.error
    assert not (tmp_path / RUNS).exists()
