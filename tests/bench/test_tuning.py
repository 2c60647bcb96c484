import math
import random

import pytest

from holdfast.bench.claims import Claims
from holdfast.bench.grid import Cell
from holdfast.bench.table import make_table
from holdfast.bench.tuning import Ask
from holdfast.bench.work import Proposals, Worker
from holdfast.core.errors import UsageError

from .conftest import figures, varied

PLAIN = Cell("plain", "reds")


def tried(plan, cell=PLAIN):
    return [dict(trial[0].values) for trial in plan.tuner.jobs(cell) if not isinstance(trial, Ask)]


def test_a_grid_is_every_combination(recipe, planned):
    content = recipe.model_dump()
    content |= {"search": {"weight_decay": [0.0, 1e-4]}, "tuning": {"trials": None}}
    plan = planned(varied(recipe, **content))
    assert tried(plan) == [{"weight_decay": w, "lr": lr} for w in (0.0, 1e-4) for lr in (0.01, 0.1)]
    assert plan.tuner.budget(PLAIN) == 4


def test_of_a_larger_grid_the_same_points_are_drawn_each_time(recipe, planned):
    content = recipe.model_dump()
    grid = [10.0**-n for n in range(1, 9)]
    content["methods"]["plain"]["search"] = content["methods"]["l2"]["search"] = {"lr": grid}
    content["methods"]["ptr"]["search"] = {"R": list(range(1, 9))}
    content["tuning"] = {"trials": 3}
    random.seed(5)
    first = tried(planned(varied(recipe, **content)))
    random.seed(6)
    plan = planned(varied(recipe, **content))
    assert tried(plan) == first
    assert len(first) == 3
    assert {plan.tuner.budget(cell) for cell in plan.tuner.cells()} == {3}  # every row as many


def test_lists_are_read_side_by_side_and_every_row_tries_the_same_rates(recipe, planned):
    content = recipe.model_dump()
    content["search"] = {"lr": [0.1, 0.1, 0.01], "bn": ["train", "frozen", "frozen"]}
    content["methods"]["plain"]["search"] = content["methods"]["l2"]["search"] = {}
    content["methods"]["ptr"]["search"] = {"R": [1, 3, 1]}
    content["tuning"] = {"by": "list", "trials": 3}
    content["data"]["blues"]["trials"] = 2
    plan = planned(varied(recipe, **content))
    rates = [{"lr": 0.1, "bn": "train"}, {"lr": 0.1, "bn": "frozen"}, {"lr": 0.01, "bn": "frozen"}]
    assert tried(plan) == rates
    assert tried(plan, Cell("ptr", "reds")) == [{**rate, "R": R} for rate, R in zip(rates, (1, 3, 1), strict=True)]
    assert tried(plan, Cell("plain", "blues")) == rates[:2]


def test_data_may_have_seeds_of_their_own(recipe, planned):
    content = recipe.model_dump()
    content["data"]["blues"]["seeds"] = 2
    plan = planned(varied(recipe, **content))
    assert plan.unknown() == 3 * (3 + 2)
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=figures).work()
    count = [sum(job.cell.column == column for job in plan.final()) for column in ("reds", "blues")]
    assert count == [3 * 3, 3 * 2]
    asked = {(entry.column, entry.asked, len(entry.values)) for entry in make_table(plan).entries}
    assert asked == {("reds", 3, 3), ("blues", 2, 2)}
    assert planned(varied(recipe, **content), seeds=1).grid.seeds(Cell("plain", "blues")) == 1


def test_the_best_mean_over_the_trial_seeds_wins_and_likelihood_breaks_ties(recipe, planned):
    plan = planned(varied(recipe, tuning={"trials": 2, "seeds": 2}), only="plain and reds")
    table = {(0.01, 1000): (0.5, 1.0), (0.01, 1001): (0.7, 1.0), (0.1, 1000): (0.6, 1.0), (0.1, 1001): (0.6, 0.5)}

    def fit(settings):
        accuracy, nll = table.get((settings.lr, settings.seed), (0, 0))
        return {"val.accuracy": accuracy, "val.nll": nll, "test.accuracy": 1.0}

    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=fit).work()
    assert plan.tuner.chosen(PLAIN).values == {"lr": 0.1}


def test_nothing_is_chosen_before_all_trials_ended(recipe, planned):
    plan = planned(recipe, only="plain and reds")
    first, second = plan.trials()
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=figures).attempt(first)
        assert plan.tuner.chosen(PLAIN) is None
        assert list(plan.final()) == []
        assert plan.unknown() == 3
        Worker(plan, claims, fit=figures).attempt(second)
    assert len(list(plan.final())) == 3


def test_a_grid_without_end_is_refused(recipe, planned):
    content = recipe.model_dump()
    many = [1e-3 + 1e-6 * n for n in range(1001)]
    content["methods"]["plain"]["search"] = {"lr": many, "weight_decay": many}
    with pytest.raises(UsageError, match="more than 1000000 points"):
        tried(planned(varied(recipe, **content)))


@pytest.fixture
def bayesian(recipe):
    """Trials that Optuna proposes, for one row in one column."""
    pytest.importorskip("optuna")
    content = recipe.model_dump()
    content["methods"] = {
        "plain": {
            "method": "plain",
            "search": {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "bn": ["train", "frozen"]},
        }
    }
    content["tuning"] = {"by": "optuna", "trials": 6}
    return varied(recipe, **content)


def peak(settings):
    """Best at a rate of 0.01 with frozen statistics."""
    accuracy = 0.9 - 0.1 * abs(math.log10(settings.lr) + 2) - 0.05 * (settings.bn == "train")
    return {"val.accuracy": accuracy, "val.nll": 0.0, "test.accuracy": accuracy}


def test_optuna_proposes_as_many_trials_as_asked_and_learns_from_them(bayesian, planned):
    plan = planned(bayesian, only="reds")
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=peak).work()
    values = tried(plan)
    assert len(values) == len({v["lr"] for v in values}) == 6
    assert all(1e-4 <= v["lr"] <= 1 for v in values)
    best = plan.tuner.chosen(PLAIN).values
    assert best == max(values, key=lambda v: -abs(math.log10(v["lr"]) + 2) - 0.5 * (v["bn"] == "train"))
    assert {job.settings.lr for job in plan.final()} == {best["lr"]}
    optuna = pytest.importorskip("optuna")
    study = optuna.load_study(
        study_name=plan.tuner.study(PLAIN), storage=f"sqlite:///{plan.store.root / 'trials' / 'optuna.db'}"
    )
    finished = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert len(finished) == 5  # the last one has nobody left to learn from it


def test_two_runners_share_optunas_trials(bayesian, planned):
    first, second = planned(bayesian, only="reds"), planned(bayesian, only="reds")
    with Claims(first.store.claims) as ours, Claims(second.store.claims) as theirs:
        jobs = [Proposals(first, ours).runs(ask) for ask in list(first.ready())[:3]]
        assert [dict(job.values) for (job,) in jobs] == tried(second)
        asked = [item for item in second.ready() if isinstance(item, Ask)]
        assert [ask.number for ask in asked] == list(range(3, 6))
        Worker(second, theirs, fit=peak).work()
    assert len(tried(first)) == 6


def test_a_trial_that_was_proposed_keeps_its_values(bayesian, planned):
    plan = planned(bayesian, only="reds")
    with Claims(plan.store.claims) as claims:
        ask = next(iter(plan.ready()))
        (before,) = Proposals(plan, claims).runs(ask)
        (after,) = Proposals(planned(bayesian, only="reds"), claims).runs(ask)
    assert before.name == after.name


def test_a_database_of_the_users_is_used(bayesian, planned, tmp_path):
    database = tmp_path / "shared.db"
    tuning = {**bayesian.tuning.model_dump(), "trials": 1, "storage": f"sqlite:///{database}"}
    plan = planned(varied(bayesian, tuning=tuning), only="reds")
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=peak).work()
    assert database.is_file()
    assert not (plan.store.root / "trials" / "optuna.db").exists()


def test_optuna_is_asked_for_where_it_is_missing(bayesian, planned, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    plan = planned(bayesian, only="reds")
    with Claims(plan.store.claims) as claims, pytest.raises(UsageError, match=r"pip install 'holdfast\[optuna\]'"):
        Worker(plan, claims, fit=peak).work()
