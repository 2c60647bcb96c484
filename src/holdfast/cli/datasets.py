"""``holdfast datasets``: the data sets that have names, what is known of them, what of them lies here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from holdfast.data.named.catalogue import Entry, Split


def datasets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="explain this data set")] = None,
    data_root: Annotated[
        Path, typer.Option(metavar="PATH", help="folder of the data sets; what lies there is checked")
    ] = Path("data"),
    unpack: Annotated[bool, typer.Option("--unpack", help="check the archives that lie there, unpack them")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print what is known as JSON")] = False,
) -> None:
    """List the data sets that have names, or explain one: classes, splits, size, licence, how to get it, what is here.

    Train on one with 'holdfast train NAME --data-root PATH', on a portion with NAME@15% or NAME@5-per-class.
    """
    from holdfast.core.errors import UsageError
    from holdfast.data.named.catalogue import catalogue, entry

    if name is None:
        if unpack:
            raise UsageError("--unpack needs the NAME of a data set")
        _list(list(catalogue().values()), data_root, as_json)
        return
    known = entry(name)
    if unpack:
        from holdfast.data.named.dataset import prepare

        for line in prepare(known.manifest, data_root):
            typer.echo(line)
        return
    found = _facts(known, data_root)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for line in _lines(known, found):
        typer.echo(line)


def _facts(known: Entry, root: Path) -> dict[str, Any]:
    """All that is known of a split and its data set, and what lies below the data root."""
    from holdfast.data.named.dataset import absent, state

    manifest = known.manifest.model_dump(mode="json", exclude={"splits"})
    here = {"data_root": str(root), "missing": absent(known, root), "files": state(known.manifest, root)}
    split = known.split.model_dump(mode="json")
    also = [name for name in known.manifest.splits if name != known.name]
    return {"name": known.name, "split": split, "other_splits": also, "data_set": manifest, "here": here}


def _lines(known: Entry, found: dict[str, Any]) -> list[str]:
    m, split, here = known.manifest, known.split, found["here"]
    lines = [
        f"{known.name}: {m.title}: {m.about} ({m.citation})",
        "",
        f"classes    {known.classes}",
        f"pictures   {m.pictures} in the archives",
        f"split      {split.about}",
        f"           {split.origin}; {counts(split)}; list of pictures sha256: {split.sha256}",
    ]
    others = {other: m.splits[other] for other in found["other_splits"]}
    lines += [f"also       {other}: {its.about}; {counts(its)}" for other, its in others.items()]
    lines += [f"licence    {m.licence}", f"home       {m.home}"]
    if m.obtain:
        lines.append(f"obtain     {m.obtain}")
    for file in m.files:
        size = f", {file.bytes} bytes" if file.bytes else ""
        checked = f"{file.digest} by {file.source}" if file.source else "checksum unknown"
        lines.append(f"file       {file.path}{size}, {checked}: {here['files'][file.path]}")
        lines += [f"           {file.url}"] if file.url else []
    missing = ", ".join(here["missing"])
    own = m.files and set(here["missing"]) & set(m.layout)
    then = f"; put the files there, then 'holdfast datasets {known.name} --unpack'" if own else ""
    lines.append(f"here       {here['data_root']}: " + (f"without {missing}{then}" if missing else "ready to train on"))
    return lines + [f"note       {note}" for note in m.notes]


def _list(known: list[Entry], root: Path, as_json: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from holdfast.data.named.dataset import absent

    ready = {e.name: not absent(e, root) for e in known}
    if as_json:
        rows = [
            {"name": e.name, "title": e.manifest.title, "classes": e.classes, "origin": e.split.origin}
            | {"counts": e.split.counts, "about": e.split.about, "here": ready[e.name]}
            for e in known
        ]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    console = Console()
    table = Table("name", "classes", "pictures", "split", "here", "what it is", box=box.SIMPLE_HEAD, pad_edge=False)
    for e in known:
        shown = "yes" if ready[e.name] else ""
        what = f"{e.manifest.title}; {e.split.about}"
        table.add_row(e.name, str(e.classes), counts(e.split), e.split.origin, shown, what)
    if not console.is_terminal:
        console.width = 200  # not a screen's: lines stay whole for other programs
    console.print(table)
    console.print(f"'here': below {root} (--data-root); holdfast datasets NAME explains a data set", highlight=False)


def counts(split: Split) -> str:
    """Pictures of each part, as ``train 5994, test 5794``."""
    return ", ".join(f"{part} {'?' if n is None else n}" for part, n in split.counts.items())
