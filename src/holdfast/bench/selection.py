"""Expressions that pick cells of a table: ``ptr and not caltech*``, ``(plain or l2_sp) and flowers``."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from holdfast.core.errors import UsageError

Test = Callable[[frozenset[str]], bool]
_TOKEN = re.compile(r"\s*([()]|[^\s()]+)")


def selection(text: str) -> Test:
    """A test of a cell's names: those of its row, column, data and network.

    A word matches a name as a pattern with ``*`` and ``?``; ``not`` binds closest, then ``and``, then ``or``.

    Raises:
        UsageError: the text is no such expression.
    """
    return _Parser(text).parsed()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._tokens = text, _TOKEN.findall(text)

    def parsed(self) -> Test:
        test = self._either()
        if self._tokens:
            raise self._wrong(f"{self._tokens[0]!r} where 'and' or 'or' was expected")
        return test

    def _either(self) -> Test:
        first = self._both()
        if not self._next("or"):
            return first
        second = self._either()
        return lambda names: first(names) or second(names)

    def _both(self) -> Test:
        first = self._one()
        if not self._next("and"):
            return first
        second = self._both()
        return lambda names: first(names) and second(names)

    def _one(self) -> Test:
        if self._next("not"):
            inner = self._one()
            return lambda names: not inner(names)
        if self._next("("):
            inner = self._either()
            if not self._next(")"):
                raise self._wrong("a bracket that is not closed")
            return inner
        if not self._tokens or self._tokens[0] in ("and", "or", ")"):
            raise self._wrong(f"{self._tokens[0]!r} where a name was expected" if self._tokens else "an end too soon")
        word = self._tokens.pop(0)
        return lambda names: any(fnmatchcase(name, word) for name in names)

    def _next(self, token: str) -> bool:
        found = bool(self._tokens) and self._tokens[0] == token
        if found:
            self._tokens.pop(0)
        return found

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"--only {self._text!r} has {what}; write for instance 'ptr and not (caltech* or cars)'")
