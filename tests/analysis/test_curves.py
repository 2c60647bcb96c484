"""``holdfast analyse curves``: means and bands by hand, and the command."""

import json

import pytest

from holdfast.analysis.course.courses import course
from holdfast.analysis.course.curves import curves
from holdfast.analysis.finished import finished
from holdfast.core.errors import DataError, UsageError

from .written import CLASSES, FIRST, paint_parts, write_run

COLUMNS = "epoch,train.loss,train.accuracy,val.loss,val.accuracy,lr,head_lr"


@pytest.fixture
def run(tmp_path):
    """``run(name, accuracies)`` writes a run with these validation accuracies and its learning curves."""
    root = paint_parts(tmp_path / "photos")

    def write(name, accuracies, **settings):
        folder = write_run(tmp_path / name, root, FIRST, **settings)
        rows = [f"{e},{1 / e},{1 - 0.5 / e},{1.25 / e},{a},0.01,0.1" for e, a in enumerate(accuracies, start=1)]
        (folder / "metrics.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
        return folder

    return write


def test_mean_lowest_and_highest_of_three_runs(run):
    records = [finished(run(*each)) for each in (("a", [0.25, 0.5, 1.0]), ("b", [0.5, 0.75]), ("c", [0.75, 0.25]))]
    found = course("plain", records, "val.accuracy")
    assert found.epochs == [1, 2, 3]
    assert found.mean == [0.5, 0.5, 1.0]
    assert found.low == [0.25, 0.25, 1.0]
    assert found.high == [0.75, 0.75, 1.0]
    assert found.runs == [3, 3, 1]
    assert found.thins == 1


def test_a_column_that_nobody_has_gives_no_course(run):
    assert course("plain", [finished(run("a", [0.5]))], "val.nll") is None


def test_epochs_without_a_validation_are_left_out(run):
    folder = run("a", [0.5, "", 0.75])
    found = course("plain", [finished(folder)], "val.accuracy")
    assert (found.epochs, found.mean, found.thins) == ([1, 3], [0.5, 0.75], None)


def test_a_run_that_diverged_is_named(run):
    finding = curves([run("a", [0.5, "nan", 0.25]), run("b", [0.5, 0.5, 0.5])])
    (found,) = finding.data["curves"]["val.accuracy"]
    assert found["runs"] == [2, 1, 2]
    assert any("a has numbers that are not finite in val.accuracy" in note for note in finding.notes)


def test_runs_of_one_method_are_averaged_and_counted(run):
    finding = curves([run("a", [0.5, 0.25]), run("b", [0.5, 0.75], seed=1), run("c", [0.5, 1.0], method="ptr(R=3)")])
    assert finding.title == "Learning curves of 2 methods"
    assert finding.data["methods"]["plain"]["seeds"] == [0, 1]
    assert [each["mean"][-1] for each in finding.data["curves"]["val.accuracy"]] == [0.5, 1.0]
    assert "plain ends at 50.0 % (25.0 to 75.0 over 2 runs) after epoch 2" in finding.text
    assert "ptr(R=3) ends at 100.0 % (1 run) after epoch 2" in finding.text
    assert [figure.name for figure in finding.figures] == ["curves-loss", "curves-accuracy", "curves-rate"]
    assert all("3 runs of 2 methods" in figure.caption for figure in finding.figures)
    assert not any("differ" in note for note in finding.notes)


def test_other_settings_are_noted(run):
    notes = curves([run("a", [0.5]), run("b", [0.5], lr=0.5, method="l2")]).notes
    assert "The runs differ in lr (0.0003, 0.5) too, not in method and seed alone." in notes


def test_without_validation_the_training_accuracy_is_told(run):
    folder = run("a", [""])
    finding = curves([folder])
    assert "The training accuracy: plain ends at 50.0 % (1 run) after epoch 1" in finding.text
    assert "No run was validated while it trained." in finding.notes


def test_what_is_refused(run, tmp_path):
    a, b = run("a", [0.5]), run("b", [0.5])
    with pytest.raises(UsageError, match="at least one"):
        curves([])
    with pytest.raises(UsageError, match=r"expected different runs, found .*/a twice"):
        curves([a, b, a])
    (b / "preprocessing.json").write_text(json.dumps({"classes": [*CLASSES, "violet"]}))
    with pytest.raises(DataError, match=r"3 classes in .*/a and 4 in .*/b, and 'violet' in one alone"):
        curves([a, b])
    (a / "metrics.csv").unlink()
    with pytest.raises(DataError, match=r"figures of each epoch in .*/a/metrics.csv, found none"):
        curves([a])
    with pytest.raises(DataError, match=r"no folder at .*/c"):
        curves([tmp_path / "c"])


def test_the_command_on_a_trained_run(holdfast, trained, tmp_path):
    done = holdfast("analyse", "curves", trained[0], "--out", tmp_path / "found")
    assert (done.code, done.err) == (0, "")
    stored = json.loads((tmp_path / "found" / "curves.json").read_text())
    last = (trained[0] / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert stored["data"]["curves"]["train.loss"][0]["mean"][-1] == float(last[1])
    assert stored["data"]["curves"]["train.loss"][0]["epochs"] == list(range(1, 11))
    assert len(stored["figures"]) == 3
    assert stored["text"] in done.out


def test_a_mistake_is_one_line(holdfast, tmp_path):
    done = holdfast("analyse", "curves", tmp_path / "absent")
    assert done.code == 2
    assert "found no folder at" in done.error
