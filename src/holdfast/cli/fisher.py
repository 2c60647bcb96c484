"""``holdfast fisher``: the Fisher information that l2_sp_fisher and gl_sp_fisher weigh with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from holdfast.cli.evaluate import Device

if TYPE_CHECKING:
    from holdfast.core.fisher import Kind
    from holdfast.train.fisher import Inputs

KINDS, INPUTS = ("monte_carlo", "topk", "exact"), ("source", "target")


def fisher(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="network as for 'holdfast train', or a run folder")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="folder of pictures; of the source task if you have it")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="where to write, FILE.safetensors")],
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="local weight file, head included")] = None,
    kind: Annotated[
        str, typer.Option(metavar="|".join(KINDS), help="labels: drawn, the most probable, or all")
    ] = KINDS[0],
    k: Annotated[int | None, typer.Option(min=1, help="labels of each picture for topk; 5 where not given")] = None,
    draws: Annotated[int | None, typer.Option(min=1, help="labels drawn of each picture for monte_carlo; 1")] = None,
    samples: Annotated[int, typer.Option(min=0, help="pictures drawn from the training part; 0: all")] = 1000,
    image_size: Annotated[int | None, typer.Option(min=8, help="side of the input; else the network's own")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="pictures at a time")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="of the choice of pictures and of the labels drawn")] = 0,
    inputs: Annotated[
        str | None,
        typer.Option(metavar="|".join(INPUTS), help="whether DATA is the source task's; by its number of classes"),
    ] = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print the record as JSON")] = False,
) -> None:
    """Measure a network's diagonal Fisher information on pictures, at its weights, through its own head.

    The same command again goes on where it was stopped, and says so where it is finished. Use the file in training as
    --method "l2_sp_fisher(alpha=…, fisher='FILE.safetensors')".
    """
    from rich.console import Console

    from holdfast.train.fisher import Request, measure

    _one_of("--kind", kind, KINDS)
    if inputs is not None:
        _one_of("--inputs", inputs, INPUTS)
    request = Request(
        model=model,
        data=data,
        out=out,
        weights=weights,
        kind=cast("Kind", kind),
        labels=_labels(kind, k, draws),
        samples=samples or None,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        inputs=cast("Inputs | None", inputs),
        device=device,
    )
    record = measure(request, Console(stderr=True, quiet=as_json))
    if as_json:
        typer.echo(json.dumps({"file": str(out), **record}, indent=1, ensure_ascii=False))
        return
    for line in _lines(out, record):
        typer.echo(line)


def _one_of(flag: str, value: str, known: tuple[str, ...]) -> None:
    from holdfast.core.errors import UsageError

    if value not in known:
        raise UsageError(f"{flag} is {value!r}; expected one of {', '.join(known)}")


def _labels(kind: str, k: int | None, draws: int | None) -> int:
    """How many labels of each picture; a flag that would have no effect is refused."""
    from holdfast.core.errors import UsageError

    for flag, value, its in (("--k", k, "topk"), ("--draws", draws, "monte_carlo")):
        if value is not None and kind != its:
            raise UsageError(f"{flag} has no effect with --kind {kind}; leave it out, or take --kind {its}")
    return (5 if k is None else k) if kind == "topk" else (draws or 1)


def _lines(out: Path, record: dict[str, Any]) -> list[str]:
    labels = "all labels" if record["kind"] == "exact" else f"{record['labels']} label(s) each, {record['kind']}"
    through = " through the source head: not what the paper means" if record["inputs"] == "target" else ""
    lines = [f"finished already: {out}"] if record["finished"] else []
    of = f"{record['model']} at {record['image_size']} px"
    lines.append(f"F of {of}: mean {record['mean']:.3g}, max {record['max']:.3g}")
    lines.append(f"   on {record['samples']} pictures, {labels}; {record['inputs']} inputs{through}")
    if record["skipped"]:
        lines.append(f"   {len(record['skipped'])} file(s) could not be read, such as {record['skipped'][0]}")
    if record["mean"] > 0:
        lines.append(
            f"an alpha of {0.1 / record['mean']:.2g} pulls on average as l2_sp(alpha=0.1): "
            f"--method \"l2_sp_fisher(alpha=…, fisher='{out}')\""
        )
    return lines
