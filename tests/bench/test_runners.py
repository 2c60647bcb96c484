"""Several processes on one folder: none repeats what another did, and none is missed when it dies."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from holdfast.bench.catalogue import load
from holdfast.bench.grid import Scope
from holdfast.bench.plan import stored_plan

from .conftest import SMALL

RUNS = 30


@pytest.fixture
def runner(root, tmp_path):
    """Start one runner of the small recipe."""
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "log").touch()
    started = []

    def start(seconds, share=0, together=1):
        told = {"recipe": tmp_path / "small.yaml", "root": root, "out": tmp_path / "out", "log": tmp_path / "log"}
        words = {
            **{name: str(path) for name, path in told.items()},
            "seconds": seconds,
            "share": share,
            "together": together,
        }
        command = [sys.executable, str(Path(__file__).with_name("runners.py")), json.dumps(words)]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def log(tmp_path):
    """How often each run was begun and ended."""
    words = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    return Counter(name for what, name, _ in words if what == "begun"), Counter(w[1] for w in words if w[0] == "ended")


def finished(tmp_path):
    """Whether the folder holds the whole comparison, and nothing is left of its making."""
    plan = stored_plan(load(tmp_path / "small.yaml")[1], Scope(), tmp_path / "out")
    assert list(plan.ready()) == []
    assert plan.unknown() == 0
    assert len(plan.store.finished()) == RUNS
    assert plan.store.failed() == set()
    assert list((tmp_path / "out").rglob(".*.tmp")) == []
    return plan


def test_three_runners_at_once_do_no_run_twice(runner, tmp_path):
    processes = [runner(0.02, share, together=3) for share in range(3)]
    for process in processes:
        assert process.wait(timeout=120) == 0, process.stderr.read()
    begun, ended = log(tmp_path)
    assert set(begun.values()) == set(ended.values()) == {1}
    assert len(begun) == RUNS
    workers = {line.split()[2] for line in (tmp_path / "log").read_text().splitlines()}
    assert len(workers) > 1
    finished(tmp_path)
    assert list((tmp_path / "out" / "claims").iterdir()) == []


@pytest.mark.parametrize("seed", range(2))
def test_killing_runners_at_any_time_loses_nothing(runner, tmp_path, seed):
    rng = random.Random(seed)
    killed = 0
    processes = [runner(0.05), runner(0.05, 1)]
    until = time.monotonic() + 120
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        time.sleep(rng.uniform(0.1, 0.6))
        victim = rng.randrange(2)
        if killed < 6 and processes[victim].poll() is None:
            processes[victim].kill()
            processes[victim].wait()
            killed += 1
            processes[victim] = runner(0.05, victim)
    for process in processes:
        assert process.wait(timeout=60) == 0, process.stderr.read()
    assert killed >= 3
    begun, ended = log(tmp_path)
    assert len(ended) == RUNS
    assert sum(begun.values()) <= RUNS + killed  # a kill costs the run in flight, and no other
    finished(tmp_path)
