import errno
import json
from collections import Counter

import pytest

from holdfast.bench.claims import Claims, claimed
from holdfast.bench.status import Watch, failures
from holdfast.bench.work import Worker, executed, fit
from holdfast.core.errors import HoldfastError
from holdfast.train.settings import Settings

from .conftest import figures, varied


def work(plan, fit_=figures, **options):
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=fit_, **options).work()


class Counted:
    """A training that notes what it was asked for, and may fail."""

    def __init__(self, fails=lambda settings: None):
        self.asked, self._fails = [], fails

    def __call__(self, settings):
        self.asked.append(settings)
        self._fails(settings)
        return figures(settings)


def raises(error, when):
    def fails(settings):
        if when(settings):
            raise error

    return fails


def test_everything_is_done_once(recipe, planned):
    counted = Counted()
    work(planned(recipe), counted)
    assert len(counted.asked) == 12 + 18  # trials: 2 columns, 3 rows, 2 each; then 3 seeds of each cell
    work(planned(recipe), counted)
    assert len(counted.asked) == 30
    status = Watch(planned(recipe)).look(())
    assert (status.total, status.sum("done"), status.sum("failed")) == (30, 30, 0)
    work(planned(recipe, seeds=5), counted)
    assert len(counted.asked) == 30 + 12  # two more seeds of six cells


def test_rows_that_come_to_the_same_run_share_it(recipe, planned):
    content = recipe.model_dump()
    content["methods"]["again"] = content["methods"]["plain"]
    counted = Counted()
    work(planned(varied(recipe, methods=content["methods"])), counted)
    assert len(counted.asked) == 30


def test_trials_choose_for_the_final_runs(recipe, planned):
    counted = Counted()
    plan = planned(recipe, only="reds")
    work(plan, counted)
    final = [s for s in counted.asked if s.measure_test]
    assert {s.method for s in final} == {"plain", "ptr(R=3)", "l2"}
    assert {s.lr for s in final if s.method == "plain"} == {0.01}
    assert Counter(s.method for s in final) == {"plain": 3, "ptr(R=3)": 3, "l2": 3}
    tried = [s for s in counted.asked if not s.measure_test]
    assert Counter(s.method.partition("(")[0] for s in tried) == {"plain": 2, "ptr": 2, "l2": 2}  # an equal budget
    assert {s.seed for s in tried} == {1000}
    assert {(s.samples_per_class, s.val_within) for s in tried} == {(4, True)}


def test_a_result_says_all_that_decided_it(recipe, planned, tmp_path):
    plan = planned(recipe, only="ptr and reds")
    work(plan)
    job = next(plan.final())
    row = json.loads((tmp_path / "out" / "runs" / f"{job.name}.json").read_text())
    assert (row["stage"], row["row"], row["column"], row["seed"]) == ("run", "ptr", "reds", 0)
    assert row["values"] == {"R": 3}
    assert row["settings"]["method"] == "ptr(R=3)"
    assert row["figures"]["test.accuracy"] == pytest.approx(0.73)
    assert str(tmp_path) not in json.dumps(row)  # it says the same on every machine
    trial = plan.store.read(next(plan.trials()).name)
    assert not any(name.startswith("test.") for name in trial["figures"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (HoldfastError("the loss is not finite"), "the loss is not finite"),
        (ZeroDivisionError("oh\nno"), "ZeroDivisionError: oh no"),
        (MemoryError(), "MemoryError: no message"),
    ],
)
def test_a_failure_is_a_row_with_its_reason_and_no_stop(recipe, planned, error, reason):
    plan = planned(recipe)
    counted = Counted(raises(error, lambda s: s.measure_test and s.method == "l2" and s.seed == 1))
    work(plan, counted)
    assert len(counted.asked) == 30
    assert dict(failures(plan)) == {f"l2, reds: {reason}": 1, f"l2, blues: {reason}": 1}
    status = Watch(plan).look(())
    assert (status.total, status.sum("done"), status.sum("failed")) == (30, 28, 2)
    work(planned(recipe), counted)
    assert len(counted.asked) == 30  # not again by itself
    plan.store.forgive(plan.store.failed())
    work(planned(recipe), figures)
    assert Watch(planned(recipe)).look(()).sum("done") == 30


def test_a_trial_that_fails_is_not_chosen(recipe, planned):
    diverges = raises(HoldfastError("diverges"), lambda s: s.lr < 0.05 and s.method == "plain")
    plan = planned(recipe, only="plain and reds")
    counted = Counted(diverges)
    work(plan, counted)
    assert {s.lr for s in counted.asked if s.measure_test} == {0.1}


def test_a_cell_whose_trials_all_fail_has_no_final_runs(recipe, planned):
    content = recipe.model_dump()
    content["methods"]["l2"] |= {"reuse": "plain", "search": {}}
    plan = planned(varied(recipe, methods=content["methods"], tuning={"trials": None}))
    counted = Counted(raises(HoldfastError("diverges"), lambda s: s.method == "plain"))
    work(plan, counted)
    assert {s.method for s in counted.asked if s.measure_test} == {"ptr(R=3)"}
    assert Watch(plan).look(()).total == 8 + 6


def test_values_of_another_row_are_taken_over(recipe, planned):
    content = recipe.model_dump()
    content["methods"]["ptr"] |= {"reuse": "plain"}
    plan = planned(varied(recipe, methods=content["methods"]), only="ptr and reds")
    counted = Counted()
    work(plan, counted)
    tried = [(s.method, s.lr) for s in counted.asked if not s.measure_test]
    assert sorted(tried) == [("plain", 0.01), ("plain", 0.1), ("ptr(R=1)", 0.01), ("ptr(R=3)", 0.01)]
    assert {(s.method, s.lr) for s in counted.asked if s.measure_test} == {("ptr(R=3)", 0.01)}


def test_a_full_disk_stops_the_worker_and_blames_no_run(recipe, planned):
    plan = planned(recipe)
    full = HoldfastError("no space left")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(HoldfastError, match="no space"):
        work(plan, Counted(raises(full, lambda s: True)))
    assert plan.store.failed() == set()
    assert claimed(plan.store.claims) == set()


def test_an_interrupted_run_keeps_its_folder_and_goes_on_there(recipe, planned):
    plan = planned(recipe, only="plain and reds")

    def interrupted(settings):
        settings.out.mkdir(parents=True)
        (settings.out / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(plan, interrupted)
    assert claimed(plan.store.claims) == set()
    found = []

    def resumed(settings):
        found.append((settings.out / "checkpoint").is_file() if settings.out.is_dir() else False)
        return figures(settings)

    work(plan, resumed)
    assert found[0] is True
    assert True not in found[1:]
    assert list(plan.store.work.iterdir()) == []


def test_work_of_a_dead_owner_is_moved_out_of_its_reach(recipe, planned):
    plan = planned(recipe)
    left = plan.store.run_folder("run", 0)
    left.mkdir(parents=True)
    (left / "checkpoint").write_text("half")
    moved = plan.store.run_folder("run", 3)
    assert (moved / "checkpoint").read_text() == "half"
    assert not left.exists()


def test_the_result_of_a_run_that_was_taken_over_is_dropped(recipe, planned):
    plan = planned(recipe, only="plain and reds")

    def slow(settings):
        name = settings.out.name.partition(".")[0]
        (plan.store.claims / f"{name}.1").write_text("{}")  # another machine took it over meanwhile
        return figures(settings)

    with Claims(plan.store.claims) as claims:
        job = next(plan.trials())
        assert Worker(plan, claims, fit=slow).attempt(job)
    assert not plan.store.settled(job.name)


def test_what_is_the_runners_own(recipe, planned, tmp_path):
    settings = next(planned(recipe).trials()).settings
    made = executed(settings, tmp_path / "work" / "x.0", 2)
    assert (made.out, made.threads, made.tensorboard, made.progress) == (tmp_path / "work" / "x.0", 2, False, "off")
    own = settings.model_copy(update={"threads": 3, "cache": "disk"})
    made = executed(own, tmp_path / "work" / "x.0", 2)
    assert (made.threads, made.cache_dir) == (3, tmp_path / "cache")  # decoded once for all runs


def test_a_damaged_result_is_named(recipe, planned):
    plan = planned(recipe)
    job = next(plan.trials())
    work(plan)
    file = plan.store.root / "runs" / f"{job.name}.json"
    file.write_text("{")
    with pytest.raises(HoldfastError, match=f"cannot read the result .*{job.name}"):
        list(planned(recipe).final())


def test_results_of_other_defaults_are_not_mistaken_for_these(recipe, planned):
    plan = planned(recipe)
    work(plan)
    job = next(plan.final())
    row = plan.store.read(job.name)
    del row["settings"]["momentum"]  # a version before there was such a setting
    plan.store.settle(job.name, row)
    assert planned(recipe).result(job)["seed"] == 0
    plan.store.settle(job.name, {**row, "settings": {**row["settings"], "batch_size": 7}})
    with pytest.raises(HoldfastError, match=r"other defaults \(batch_size was 7 and is 20\)"):
        planned(recipe).result(job)


@pytest.mark.slow
def test_a_run_over_two_processes_is_a_command_of_its_own(tmp_path):
    from cli.conftest import paint

    paint(tmp_path / "photos")
    settings = {
        "data": tmp_path / "photos", "model": "timm:test_resnet", "pretrained": False, "image_size": 32, "epochs": 1,
        "batch_size": 3, "devices": 2, "accelerator": "cpu", "strategy": "ddp", "out": tmp_path / "work" / "x.0",
    }  # fmt: skip
    found = fit(executed(Settings.of(**settings), tmp_path / "work" / "x.0", 1))
    assert 0 <= found["test.accuracy"] <= 1
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["x.0"]
    with pytest.raises(HoldfastError, match="devices: "):
        fit(executed(Settings.of(**{**settings, "strategy": "nonsense"}), tmp_path / "work" / "y.0", 1))
