"""One call from a folder of pictures to a trained network: what the command line uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from holdfast.core.errors import DataError, StartingPointError
from holdfast.train.memory import give_back
from holdfast.train.result import Result
from holdfast.train.run_folder import RunFolder, write_text
from holdfast.train.settings import Settings, read_yaml
from holdfast.train.versions import versions

if TYPE_CHECKING:
    from holdfast.train.plan import Plan

PLAINLY: dict[str, Any] = {"soft_wrap": True, "highlight": False, "markup": False}
"""How lines with paths and names are printed: brackets in them are no markup."""


def fit(data: str | Path, **settings: Any) -> Result:
    """Fine-tune a network on a folder of pictures.

    The same call again resumes an interrupted run, and returns at once where it is finished.

    Args:
        data: folder with train/val/test class folders, or class folders alone.
        settings: any of ``holdfast.train.settings.Settings``, such as ``model``, ``method``, ``epochs``, ``out``.

    Raises:
        HoldfastError: something the caller can mend; the message says how.
        KeyboardInterrupt: stopped by a signal; the run can be resumed.
    """
    return run(Settings.of(data=data, **settings))


def run(settings: Settings, console: Console | None = None, *, report: bool = True) -> Result:
    """``fit`` from checked settings, telling a console what happens; ``report`` writes the page about the run too."""
    console = console or Console(stderr=True, quiet=settings.progress == "off")
    folder = RunFolder(settings.folder())
    if folder.claim(settings) == "finished":
        console.print(f"finished already: {folder.path} (another folder with --out trains anew)", **PLAINLY)
        if report:
            _report(folder)
        return Result.read(folder.path)
    with folder.lock() if leads() else nullcontext(), limited(settings.threads):
        from holdfast.train.plan import make_plan
        from holdfast.train.training import execute

        give_back()
        with console.status("reading the pictures"):
            plan = make_plan(settings)
        if leads():
            for line in [*write_down(plan, folder), *plan.describe()]:
                console.print(line, **PLAINLY)
        result = execute(plan, folder, console)
    if report and leads():
        _report(folder)
    return result


def rehearse(settings: Settings) -> list[str]:
    """What ``run`` would do, one line each; nothing is written.

    Raises:
        HoldfastError: whatever ``run`` would raise before its first step.
    """
    from holdfast.train.plan import make_plan
    from holdfast.train.training import Run

    folder = RunFolder(settings.folder())
    state = folder.claim(settings)
    then = {"empty": "a new run", "interrupted": "goes on from the last checkpoint", "finished": "finished already"}
    with limited(settings.threads):
        plan = make_plan(settings)
        return [
            *plan.describe(),
            *Run(plan, folder, Console(quiet=True)).describe(),
            f"folder     {folder.path}: {then[state]}; nothing was written",
        ]


def leads() -> bool:
    """Whether this process writes: the only one, or the first of several on the first machine."""
    for rank in ("RANK", "SLURM_PROCID"):
        if rank in os.environ:
            return os.environ[rank] == "0"
    return all(os.environ.get(rank, "0") == "0" for rank in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Use this many threads within the block."""
    if threads is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def write_down(plan: Plan, folder: RunFolder) -> list[str]:
    """Write settings and split of a new run; check those of one that goes on, and note other versions.

    Raises:
        DataError: the pictures are not those the run began with.
        StartingPointError: nor are the weights.
    """
    from holdfast.data.folder import load_split, save_split
    from holdfast.train.source import digest

    source = plan.built.source
    recorded = {
        "model": plan.built.name,
        "method": str(plan.methods),
        "image_size": plan.size,
        "weights_from": None if source is None else source.location,
        "weights_sha256": None if source is None else source.sha256,
        "source_sha256": None if plan.source is None else digest(plan.source),
        "versions": versions(),
    }
    if not (folder.split.is_file() and folder.settings.is_file()):
        save_split(plan.index, folder.split)
        write_text(folder.settings, plan.settings.to_yaml(recorded))
        return []
    written, begun = load_split(folder.split), read_yaml(folder.settings)[1]
    if (written.classes, written.parts) != (plan.index.classes, plan.index.parts):
        raise DataError(f"the pictures in {plan.index.root} have changed since {folder.path} was begun; choose --out")
    if begun.get("weights_sha256") != recorded["weights_sha256"]:
        raise StartingPointError(f"the pre-trained weights have changed since {folder.path} was begun; choose --out")
    if begun.get("source_sha256") != recorded["source_sha256"]:
        raise DataError(
            f"the pictures in {plan.settings.source} have changed since {folder.path} was begun; choose --out"
        )
    before, now = begun.get("versions", {}), versions()
    other = [f"{name} {before.get(name)} then, {now[name]} now" for name in now if before.get(name) != now[name]]
    return [f"versions   {', '.join(other)}: the result may differ in its last digits"] if other else []


def _report(folder: RunFolder) -> None:
    """Write the report of a finished run, where it is missing."""
    if not folder.report.is_file():
        from holdfast.report.run import write_run_report

        write_run_report(folder.path)
