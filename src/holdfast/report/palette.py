"""Colours of the figures: one per method everywhere, told apart by colour-blind readers, legible on light and dark.

Figures are drawn with the light value of a colour; ``figures.to_svg`` replaces it by a CSS variable whose value in the
dark scheme ``style_variables`` gives.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """A colour by its role: a CSS variable with a value on light and one on dark paper."""

    variable: str
    light: str
    dark: str


INK = Colour("--ink", "#1c1d1f", "#e6e4df")
PAPER = Colour("--paper", "#fefefc", "#17181a")
MUTED = Colour("--muted", "#63666b", "#a3a5a9")
RULE = Colour("--rule", "#dcdbd6", "#3a3c40")
ACCENT = Colour("--accent", "#0a5c99", "#6db3e8")

GREY = Colour("--series-grey", "#5d5f63", "#96989c")
BLUE = Colour("--series-blue", "#0063ab", "#4ea6e9")
VERMILLION = Colour("--series-vermillion", "#ae3d00", "#f2844a")
GREEN = Colour("--series-green", "#019265", "#1fd89f")
PINK = Colour("--series-pink", "#be5c9c", "#f4a4d9")
OCHRE = Colour("--series-ochre", "#ac8c00", "#f2d24a")
BROWN = Colour("--series-brown", "#6b3d1e", "#bc956e")

SERIES = (GREY, BLUE, VERMILLION, GREEN, PINK, OCHRE, BROWN)
ROLES = (INK, PAPER, MUTED, RULE, ACCENT)

# Stems with a colour of their own; any other name takes one of FREE by its checksum, the same in every figure.
OWN = {
    "": GREY,
    "plain": GREY,
    "l2": GREY,
    "scratch": BROWN,
    "l2_sp": BLUE,
    "ptr": VERMILLION,
    "rifle": GREEN,
    "dtnh": PINK,
}
FREE = (OCHRE, BLUE, VERMILLION, GREEN, PINK, BROWN)


def method_colour(method: str) -> Colour:
    """The colour of a method given by name or text form; of a composition, that of its first member."""
    stem = re.split(r"[(@+\s]", method.strip(), maxsplit=1)[0]
    return OWN[stem] if stem in OWN else FREE[zlib.crc32(stem.encode()) % len(FREE)]


def style_variables(scheme: str) -> str:
    """CSS declarations of all colours for ``scheme``, ``light`` or ``dark``."""
    return " ".join(f"{colour.variable}: {getattr(colour, scheme)};" for colour in (*ROLES, *SERIES))
