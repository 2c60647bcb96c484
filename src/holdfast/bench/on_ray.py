"""Runs over the machines of a Ray cluster; results come back to the folder of this command.

This command claims runs as any other runner does and hands each to the cluster, so that local runners may work on the
same folder. The machines need the package and the data at the same place. Where they also share the folder of results,
a run that lost its machine goes on from its checkpoint; else it begins anew.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.bench.claims import Claim, Claims
from holdfast.bench.grid import Job
from holdfast.bench.local import Task
from holdfast.bench.plan import Plan
from holdfast.bench.work import Fit, Proposals, described, executed, fit, measured
from holdfast.core.errors import HoldfastError
from holdfast.train.settings import Settings

TIMES = 5
"""Machines that a run may lose before it counts as failed."""


def remote_run(settings: dict[str, Any], folder: str, threads: int | None, fit: Fit) -> dict[str, Any]:
    """One run on a machine of the cluster: how it ended, as ``holdfast.bench.work.measured`` has it."""
    place = Path(folder)
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if place.parent.is_dir():
        return measured(executed(Settings.of(**settings), place, threads), fit)
    with tempfile.TemporaryDirectory(prefix="holdfast-") as own:
        return measured(executed(Settings.of(**settings), Path(own) / "work" / place.name, threads), fit)


class Cluster:
    """Runs in flight on a cluster.

    Args:
        plan: what is to be done.
        claims: of this command.
        task: threads of each run.
        gpus: devices of each run, or a fraction of one.
        at_once: runs in flight; None asks the cluster what it holds.
        fit: trains and measures one run.
    """

    def __init__(
        self, plan: Plan, claims: Claims, task: Task, gpus: float = 0.0, at_once: int | None = None, fit: Fit = fit
    ) -> None:
        import ray

        self._ray, self._plan, self._claims, self._task = ray, plan, claims, task
        self._cpus, self._gpus = float(task.threads or 1), gpus
        self._at_once, self._fit = at_once, fit
        self._function = ray.remote(
            num_cpus=self._cpus, num_gpus=gpus, max_retries=TIMES, scheduling_strategy="SPREAD"
        )(remote_run)
        self._flying: dict[Any, tuple[Job, Claim]] = {}
        self._proposals = Proposals(plan, claims)

    def work(self, update: Callable[[], None]) -> None:
        """Hand out what can be done until all is settled."""
        while True:
            todo = list(self._plan.ready())
            if not todo and not self._flying:
                return
            for item in todo:
                if len(self._flying) >= self._room():
                    break
                for job in self._proposals.runs(item):
                    self._hand_out(job)
            update()  # before what has ended is taken in: what is shown as running is what runs
            self._collect()

    def _room(self) -> int:
        """Runs that may be in flight: as many as the machines that are there now hold."""
        if self._at_once is not None:
            return self._at_once
        held = self._ray.cluster_resources()
        fits = held.get("CPU", 0) // self._cpus
        if self._gpus:
            fits = min(fits, held.get("GPU", 0) // self._gpus)
        return max(1, int(fits))

    def _hand_out(self, job: Job) -> None:
        store = self._plan.store
        claim = None if store.settled(job.name) else self._claims.take(job.name)
        if claim is None:
            return
        if store.settled(job.name):
            self._claims.release(claim)
            return
        store.work.mkdir(parents=True, exist_ok=True)
        folder = store.run_folder(job.name, claim.generation)
        settings = job.settings.model_dump(mode="json")
        reference = self._function.remote(settings, str(folder.absolute()), self._task.threads, self._fit)
        self._flying[reference] = job, claim

    def _collect(self) -> None:
        """Write down what has ended, and wait a moment where nothing has."""
        if not self._flying:
            time.sleep(1.0)
            return
        ended, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=1.0)
        for reference in ended:
            job, claim = self._flying.pop(reference)
            try:
                found = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                found = {"reason": f"Ray gave the run up: {' '.join(str(error).split())[:500]}"}
            if not claim.lost:
                self._plan.store.settle(job.name, {**described(job), **found})
            self._claims.release(claim)


def run_on_ray(plan: Plan, task: Task, machines: Any, update: Callable[[], None]) -> None:
    """Do all runs of a plan on a Ray cluster, joined by its address or started here.

    Args:
        plan: what is to be done.
        task: threads of each run, and the lease of claims.
        machines: the cluster's address, devices of each run, runs in flight.
        update: called about once a second.

    Raises:
        HoldfastError: there is no such cluster.
    """
    import ray

    begun_here = not ray.is_initialized()
    if begun_here:
        try:
            ray.init(
                address=machines.address,
                log_to_driver=False,
                include_dashboard=False if machines.address is None else None,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise HoldfastError(f"no Ray cluster at {machines.address}: {' '.join(str(error).split())}") from error
    try:
        with Claims(plan.store.claims, task.lease) as claims:
            Cluster(plan, claims, task, machines.gpus, machines.workers).work(update)
    finally:
        if begun_here:
            ray.shutdown()
