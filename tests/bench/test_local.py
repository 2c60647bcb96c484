import json
import multiprocessing
import os
import signal
import time

import pytest

from holdfast.bench import local
from holdfast.bench.claims import Claims, held_by
from holdfast.bench.grid import Cell, Grid, Scope

from .conftest import varied


@pytest.fixture
def crew(recipe, root, tmp_path, monkeypatch):
    """A crew of one whose worker does what a test says; forked, so that the child knows it."""
    task = local.Task(recipe, Scope(root), tmp_path / "out")
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind, get=multiprocessing.get_context: get("fork"))

    def call(worker, fail=lambda name, reason: None):
        monkeypatch.setattr(local, "worker", worker)
        return local.crew(task, 1, fail, lambda pid: held_by(tmp_path / "out" / "claims", pid))

    return call


def tended(team):
    until = time.monotonic() + 60
    while team.tend() and time.monotonic() < until:
        time.sleep(0.01)


def test_a_run_that_kills_its_workers_is_given_up(crew, tmp_path):
    failed = {}

    def deadly(task, share):
        if not (tmp_path / "given up").exists():
            Claims(task.out / "claims").take("poison")
            os.kill(os.getpid(), signal.SIGKILL)

    def fail(name, reason):
        failed[name] = reason
        (tmp_path / "given up").touch()

    with crew(deadly, fail) as team:
        tended(team)
    assert failed == {"poison": "its worker was killed 3 times (SIGKILL); is the memory too small?"}
    assert team.errors == {}


def test_workers_that_die_without_a_run_are_not_replaced_for_ever(crew):
    with crew(lambda task, share: os.kill(os.getpid(), signal.SIGSEGV)) as team:
        tended(team)
    assert team.errors == {0: "worker 0 ended with code -11"}


def test_a_worker_that_ends_with_an_error_is_named_and_not_replaced(crew):
    with crew(lambda task, share: os._exit(1)) as team:
        tended(team)
    assert team.errors == {0: "worker 0 ended with code 1"}


def test_no_worker_outlives_its_crew(crew, tmp_path):
    def waits(task, share):
        (tmp_path / "pid").write_text(json.dumps(os.getpid()))
        time.sleep(60)

    with crew(waits) as team:
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            assert team.tend()
            time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(("said", "found"), [("0,2", ["0", "2"]), ("", []), ("GPU-1", ["GPU-1"])])
def test_devices_that_may_be_used(monkeypatch, said, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert local.visible_gpus() == found


def test_a_run_over_several_devices_sees_them_all(recipe):
    sources = {"data.reds": "a", "data.blues": "b", "models.tiny": "published"}
    assert not Grid(recipe, Scope(), sources).spreads()
    spread = Grid(varied(recipe, settings={"devices": 2}), Scope(), sources)
    assert spread.spreads()
    assert spread.cells[0] == Cell("plain", "reds")
