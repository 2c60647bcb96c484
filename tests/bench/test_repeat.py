"""Finished runs done once more."""

import json

import pytest

from holdfast.bench.claims import Claims
from holdfast.bench.grid import Scope
from holdfast.bench.repeat import finished, repeated
from holdfast.bench.work import Worker
from holdfast.core.errors import DataError, HoldfastError, UsageError

from .conftest import figures


@pytest.fixture
def done(planned, recipe, root, tmp_path):
    """A folder in which the small recipe is done, and the scope that reads it."""
    plan = planned(recipe)
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=figures).work()
    return recipe, Scope(root), tmp_path / "out"


def test_every_final_run_is_repeated_and_the_folder_left_alone(done, tmp_path):
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.json")}
    found = list(repeated(finished(*done), fit=figures))
    assert len(found) == 3 * 2 * 3
    assert not any(each.differing for each in found)
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.json")} == before


def test_the_chosen_values_are_used_and_trials_are_not_done_again(done):
    recipe, scope, out = done
    settings = []
    list(repeated(finished(recipe, Scope(scope.root, "ptr and reds", seeds=1), out), fit=figures_of(settings)))
    (one,) = settings
    assert one.method == "ptr(R=3)"  # the better of its trials
    assert one.measure_test


def figures_of(seen):
    def fit(settings):
        seen.append(settings)
        return figures(settings)

    return fit


@pytest.mark.parametrize("name", ["test.accuracy", "val.nll"])
def test_a_figure_that_was_tampered_with_is_found(done, name):
    out = done[2]
    file = next(f for f in (out / "runs").iterdir() if json.loads(f.read_text())["stage"] == "run")
    content = json.loads(file.read_text())
    content["figures"][name] += 1e-12
    file.write_text(json.dumps(content))
    differing = [each.differing for each in repeated(finished(*done), fit=figures) if each.differing]
    assert differing == [[name]]


def test_other_packages_are_named_and_no_difference_by_themselves(done):
    def newer(settings):
        return {**figures(settings), "versions.torch": "3", "seconds": 9.0}

    each = next(repeated(finished(*done), fit=newer))
    assert each.differing == []
    assert each.elsewhere == ["torch 3 in place of 2"]


def test_a_run_that_fails_now_is_named(done):
    def fails(settings):
        raise HoldfastError("the loss is not finite")

    with pytest.raises(HoldfastError, match="plain in reds, seed 0: the loss is not finite"):
        list(repeated(finished(*done), fit=fails))


def test_other_data_are_refused(done):
    recipe, scope, out = done
    (scope.root / "reds" / "another").write_text("more")
    with pytest.raises(UsageError, match=r"data\.reds in .* is not what the results in .*out were made from"):
        finished(recipe, scope, out)
    assert finished(recipe, Scope(scope.root, "blues"), out)  # whose data are as they were


def test_missing_data_are_named(done):
    recipe, scope, out = done
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        finished(recipe, Scope(scope.root / "nowhere"), out)


def test_nothing_finished_is_said(done, tmp_path):
    recipe, scope, _ = done
    with pytest.raises(DataError, match="holds no finished run of what is asked for"):
        finished(recipe, scope, tmp_path / "empty")
