import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from holdfast.bench.claims import Claims, claimed, held_by, this_machine

HOLD = """
import sys, time
from pathlib import Path
from holdfast.bench.claims import Claims
claims = Claims(Path(sys.argv[1]))
assert claims.take("run")
print("taken", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the claim ``run``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.communicate()


def elsewhere(folder, name="run", generation=0, age=0.0, content=None):
    """A claim of a process on another machine, last renewed ``age`` seconds ago."""
    file = folder / f"{name}.{generation}"
    owner = {"machine": "another", "host": "far", "pid": 1, "locked": True}
    file.write_text(json.dumps(owner) if content is None else content)
    then = time.time() - age
    os.utime(file, (then, then))
    return file


def test_one_of_many_gets_a_claim(tmp_path):
    takers = [Claims(tmp_path) for _ in range(16)]
    won = []
    gate = threading.Barrier(len(takers))

    def take(claims):
        gate.wait()
        won.append(claims.take("run"))

    threads = [threading.Thread(target=take, args=(claims,)) for claims in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in won) == 1
    assert claimed(tmp_path) == {"run"}


def test_a_released_claim_can_be_had_again(tmp_path):
    claims = Claims(tmp_path)
    claim = claims.take("run")
    assert Claims(tmp_path).take("run") is None
    claims.release(claim)
    assert claimed(tmp_path) == set()
    assert claims.take("run").generation == 0


def test_leaving_releases_everything(tmp_path):
    with Claims(tmp_path) as claims:
        claims.take("one")
        claims.take("two")
    assert list(tmp_path.iterdir()) == []


def test_a_living_owner_on_this_machine_keeps_its_claim_however_silent(tmp_path, holder):
    os.utime(tmp_path / "run.0", (0, 0))
    assert Claims(tmp_path).take("run") is None


def test_a_killed_owner_on_this_machine_is_succeeded_at_once(tmp_path, holder):
    assert held_by(tmp_path, holder.pid) == ["run"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    claims = Claims(tmp_path)
    claim = claims.take("run")
    assert claim.generation == 1
    claims.release(claim)
    assert claimed(tmp_path) == set()


def test_an_owner_elsewhere_is_succeeded_after_its_lease(tmp_path):
    elsewhere(tmp_path, age=50)
    assert Claims(tmp_path, lease=100).take("run") is None
    assert Claims(tmp_path, lease=20).take("run").generation == 1


def test_a_claim_that_is_being_written_is_not_taken_over(tmp_path):
    elsewhere(tmp_path, content="")
    assert Claims(tmp_path, lease=100).take("run") is None


def test_the_lease_goes_by_the_file_systems_clock(tmp_path, monkeypatch):
    elsewhere(tmp_path, age=50)
    monkeypatch.setattr(time, "time", lambda: 1e12)  # a machine whose clock is wrong
    assert Claims(tmp_path, lease=100).take("run") is None


def test_two_that_find_a_dead_owner_do_not_both_succeed_it(tmp_path):
    elsewhere(tmp_path, age=50)
    first, second = Claims(tmp_path, lease=20), Claims(tmp_path, lease=20)
    assert first.take("run").generation == 1
    assert second.take("run") is None


def test_an_owner_that_was_taken_for_dead_notices_and_does_no_harm(tmp_path):
    claims = Claims(tmp_path)
    claim = claims.take("run")
    assert not claim.lost
    successor = elsewhere(tmp_path, generation=1)
    assert claim.lost
    claims.release(claim)
    assert successor.exists()


def test_an_owner_whose_claim_was_made_anew_notices(tmp_path):
    claim = Claims(tmp_path).take("run")
    claim.path.unlink()
    elsewhere(tmp_path)
    assert claim.lost


def test_claims_are_renewed_while_they_are_held(tmp_path):
    with Claims(tmp_path, lease=0.2) as claims:
        claim = claims.take("run")
        os.utime(claim.path, (0, 0))
        until = time.monotonic() + 10
        while claim.path.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert claim.path.stat().st_mtime > 0


def test_generations_go_on_beyond_nine(tmp_path):
    elsewhere(tmp_path, generation=9, age=50)
    elsewhere(tmp_path, generation=10, age=50)
    assert Claims(tmp_path, lease=20).take("run").generation == 11


def test_a_machine_is_a_running_kernel():
    assert this_machine() == this_machine() != ""
