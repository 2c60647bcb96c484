"""A Ray cluster of two machines, which are processes here; one of them dies half-way."""

import importlib.util
import threading
import time

import pytest

from holdfast.bench.claims import Claims, claimed
from holdfast.bench.local import Task
from holdfast.bench.plan import make_plan
from holdfast.bench.status import Watch, failures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: holdfast[ray]"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture
def cluster():
    """Two machines with one core each."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False)
    yield made, second
    ray.shutdown()
    made.shutdown()


def moment(log, seconds=0.3):
    """A training that takes a moment, notes on which machine, and begins once both machines have got one."""

    def fit(settings):
        import ray

        with open(log, "a") as notes:
            notes.write(f"{settings.out.name.partition('.')[0]} {ray.get_runtime_context().get_node_id()}\n")
        while len({line.split()[1] for line in log.read_text().splitlines()}) < 2:
            time.sleep(0.05)
        time.sleep(seconds)
        if settings.method == "l2" and settings.seed == 1:
            raise ZeroDivisionError("by intent")
        found = {"val.accuracy": 0.5, "val.nll": settings.lr}
        return {**found, **({"test.accuracy": 0.5} if settings.measure_test else {})}

    return fit


def test_a_lost_machines_runs_are_taken_up_again(cluster, recipe, root, tmp_path):
    from holdfast.bench.grid import Scope
    from holdfast.bench.on_ray import Cluster

    made, second = cluster
    task = Task(recipe, Scope(root), tmp_path / "out")
    plan = make_plan(task.recipe, task.scope, task.out, writes=True)
    log = tmp_path / "log"
    looks = []

    def update():
        looks.append(Watch(plan).look(claimed(plan.store.claims)).sum("running"))
        if log.is_file() and len(log.read_text().splitlines()) >= 8 and len(killed) == 0:
            killed.append(time.monotonic())
            threading.Thread(target=made.remove_node, args=(second,), kwargs={"allow_graceful": False}).start()

    killed = []
    with Claims(plan.store.claims) as claims:
        Cluster(plan, claims, task, fit=moment(log)).work(update)
    begun = [line.split() for line in log.read_text().splitlines()]
    assert killed
    assert len({node for _, node in begun}) == 2
    assert 30 <= len(begun) <= 32  # what the lost machine was at was begun again, and nothing else
    assert max(looks) == 2
    assert len(plan.store.finished()) == 28
    assert dict(failures(plan)) == {
        "l2, reds: ZeroDivisionError: by intent": 1, "l2, blues: ZeroDivisionError: by intent": 1
    }  # fmt: skip
    assert list(plan.store.work.glob("*")) == []
