"""What went wrong, in one line, where it is something that the user can mend."""

from __future__ import annotations

import errno
import sys

import typer

from holdfast.core.errors import HoldfastError

# The base of all errors in arguments; typer exports none, and brings its own copy of click in later versions.
_ClickError = typer.BadParameter.__mro__[2]


class StoppedError(Exception):
    """The user or the system stopped a verb; the message says what is left to do."""


def in_one_line(error: BaseException) -> str | None:
    """The message for an error of the user's making or of the machine's; None for a fault of the program."""
    text = _text(error)
    return None if text is None else " ".join(text.split("\n")).strip()


def _text(error: BaseException) -> str | None:
    if isinstance(error, HoldfastError):
        return str(error)
    if isinstance(error, _ClickError):
        return f"{error.format_message().rstrip('.')}; --help shows what is expected"  # type: ignore[attr-defined]
    if isinstance(error, StoppedError | typer.Abort | KeyboardInterrupt):
        return f"interrupted: {error}" if str(error) else "interrupted"
    if isinstance(error, OSError) and error.errno is not None:
        return _of_the_system(error)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return "the device's memory is full; take a smaller --batch-size or --image-size, or --precision bf16"
    return None


def _of_the_system(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk{where}; free some and repeat the command, which goes on from where it was"
    return f"{error.strerror}{where}"
