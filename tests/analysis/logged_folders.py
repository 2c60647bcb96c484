"""Run folders made by hand, with the tables of a run that wrote down its course."""

from pathlib import Path

from holdfast.data.folder import save_split
from holdfast.data.index import FolderIndex, Sample
from report.folders import make_run, write_rows


def make_logged_run(folder, method="l2_sp(alpha=0.1)", classes=("daisy", "iris"), seed=0, **tables):
    """A finished run of five epochs; ``tables`` maps a file's stem to rows by name, where a missing cell is empty."""
    make_run(folder, classes=classes, method=method, seed=seed)
    parts = {"train": tuple(Sample(f"{label}.png", label, str(label)) for label in range(len(classes)))}
    save_split(FolderIndex(Path("pictures"), tuple(classes), parts), folder / "split.json")
    for name, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        write_rows(folder / f"{name}.csv", columns, [[row.get(column, "") for column in columns] for row in rows])
    return folder


def step_rows(angles, losses, per_epoch=4, **more):
    """Rows of steps.csv, one a step: the angle between the gradients (None: no penalty) and the task loss."""
    rows = []
    for step, (angle, loss) in enumerate(zip(angles, losses, strict=True)):
        row = {"step": step, "epochs": step / per_epoch, "loss": loss}
        if angle is not None:
            row |= {"angle": angle, "conflict": float(angle > 90), "angle3": angle / 2, "angle4": angle / 3}
            row |= {name: values[step] for name, values in more.items()}
        rows.append(row)
    return rows
