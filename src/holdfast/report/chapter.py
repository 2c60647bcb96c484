"""What a folder contributes to a page: sections, what the summary says of them, tables for the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.report.parts import Part, Section


@dataclass(frozen=True)
class Chapter:
    """One of the things that a folder holds.

    Attributes:
        id: letters, digits and hyphens, unique on the page.
        heading: on what, in a few words.
        sections: all of it but settings and versions.
        summary: which method, and how sure it is, for the top of the page.
        closing: settings, versions and single runs, for the end of the page.
    """

    id: str
    heading: str
    sections: Sequence[Section]
    summary: Sequence[str]
    closing: Sequence[Part]
