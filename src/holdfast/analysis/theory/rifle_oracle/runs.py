"""The runs of RIFLE's MLP experiment on disk: done once, written as they come, taken up where they were left."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path

import torch

from holdfast.analysis.theory.rifle_oracle.readings import Reading
from holdfast.analysis.theory.rifle_oracle.run import Run, run
from holdfast.core.errors import DataError
from holdfast.data.atomic import atomic_writer
from holdfast.data.examine import Progress

RUNS = "rifle-oracle-runs"
"""Folder of the runs, one file per reading, inside that of the finding."""

Job = tuple[Reading, int]
Found = dict[str, dict[int, Run]]


def stored(folder: Path, reading: Reading) -> dict[int, Run]:
    """Runs of a reading by seed; none where the file is of a reading of that name with other settings.

    Raises:
        DataError: the file is no such record.
    """
    path = folder / RUNS / f"{reading.name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["settings"] != reading.settings:
            return {}
        return {each["seed"]: Run.from_data(each) for each in content["runs"]}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected the runs of a reading, found something else; move it away") from error


def keep(folder: Path, reading: Reading, done: Run) -> None:
    """Add a run to its reading's file, whatever another process wrote there meanwhile."""
    runs = stored(folder, reading) | {done.seed: done}
    content = {"settings": reading.settings, "runs": [runs[seed].as_data() for seed in sorted(runs)]}
    with atomic_writer(folder / RUNS / f"{reading.name}.json") as handle:
        handle.write((json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n").encode())


def run_all(readings: Sequence[Reading], seeds: int, folder: Path, workers: int, progress: Progress) -> Found:
    """Do what is not stored yet, seed after seed so that an interrupted grid is even.

    Args:
        readings: which.
        seeds: of each, counted from 0.
        folder: of the finding.
        workers: processes of one thread each; 1 runs in this one.
        progress: told how many are done, and of how many.

    Returns:
        runs by name of the reading and by seed.
    """
    found: Found = {each.name: {s: r for s, r in stored(folder, each).items() if s < seeds} for each in readings}
    jobs = [(each, seed) for seed in range(seeds) for each in readings if seed not in found[each.name]]
    total = seeds * len(readings)
    progress(total - len(jobs), total)
    with closing(_one_by_one(jobs) if workers == 1 else _at_once(jobs, workers)) as coming:
        for count, (reading, done) in enumerate(coming, start=total - len(jobs) + 1):
            keep(folder, reading, done)
            found[reading.name][done.seed] = done
            progress(count, total)
    return found


def _one_by_one(jobs: Sequence[Job]) -> Generator[tuple[Reading, Run]]:
    for reading, seed in jobs:
        yield reading, run(reading, seed)


def _at_once(jobs: Sequence[Job], workers: int) -> Generator[tuple[Reading, Run]]:
    """The runs as they end."""
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = {pool.submit(run, *job): job[0] for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # after an error or an interruption, what has not begun stays undone
