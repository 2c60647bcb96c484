"""The analyses by name, with the question that each answers."""

from __future__ import annotations

ANALYSES: dict[str, str] = {}
"""Name on the command line: the question, in one line."""
