"""``holdfast export``: a finished run's network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder that 'holdfast train' has written")],
    onnx: Annotated[
        Path | None, typer.Option(metavar="FILE", help="where to write; by default model.onnx in the run folder")
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(metavar="INTEGER", help="version of ONNX's operators; by default the exporter's choice"),
    ] = None,
) -> None:
    """Write the network as ONNX, for any batch size, and print the lines that load its weights in Python."""
    from holdfast.train.export import loading_lines, save_onnx
    from holdfast.train.loaded import load_run

    loaded = load_run(run)
    typer.echo("# in Python, with the network's own library")
    for line in loading_lines(loaded.name, loaded.options, str(loaded.folder.model)):
        typer.echo(line)
    p, file = loaded.preprocessing, onnx or loaded.folder.onnx
    about = {
        "model": loaded.name,
        "size": p.size,
        "crop": p.crop,
        "mean": p.mean,
        "std": p.std,
        "classes": loaded.classes,
    }
    apart = save_onnx(loaded.model, p.size, about, file, opset=opset)
    checked = (
        "not checked: onnxruntime is not installed" if apart is None else f"largest relative difference {apart:.1e}"
    )
    typer.echo(f"# ONNX: {file} ({checked})")
