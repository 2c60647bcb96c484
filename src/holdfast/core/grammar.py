"""The text form of a composition: ``"rifle(periods=4)+dtnh(l2_sp(alpha=0.1))"``.

    sum    = method {"+" method}
    method = name ["@" preset] ["(" [value {"," value}] ")"]
    value  = [name "="] (number | 'string' | true | false | inf | sum)

Registry names and literals only; nothing is evaluated. Length and depth are bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from holdfast.core.errors import UsageError
from holdfast.core.method import Method, Sum
from holdfast.core.registry import create

MAX_LENGTH, MAX_DEPTH = 2000, 8
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<string>'[^']*'|\"[^\"]*\")|(?P<mark>[-@(),=+]))"
)
_LITERALS = {"true": True, "false": False, "inf": float("inf")}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(source: str) -> Sum:
    """The composition that a text describes; the empty text and ``plain`` mean no method at all.

    Raises:
        UsageError: the text is too long or too deep, or something in it is not understood; the message says
            what and where.
    """
    if len(source) > MAX_LENGTH:
        raise UsageError(f"a method text has at most {MAX_LENGTH} characters, got {len(source)}")
    if source.strip() in ("", "plain"):
        return Sum()
    parser = _Parser(source)
    result = parser.sum(depth=0)
    parser.expect_end()
    return result


def _tokens(source: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while source[at:].strip():
        match = _TOKEN.match(source, at)
        # after a complete value a sign is the "+" of a sum, not part of a number
        if match and match["number"] and match["number"][0] in "+-" and found and found[-1].text not in ("(", ",", "="):
            match = re.compile(r"\s*(?P<mark>[+-])").match(source, at)
        if not match:
            raise UsageError(
                f"method text: {source[at:].strip()[0]!r} at position {at + 1} is not understood in {source!r}"
            )
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, source: str) -> None:
        self.source, self.tokens, self.at = source, _tokens(source), 0

    def peek(self, ahead: int = 0) -> _Token:
        i = self.at + ahead
        return self.tokens[i] if i < len(self.tokens) else _Token("end", "the end", len(self.source))

    def take(self) -> _Token:
        token = self.peek()
        self.at += 1
        return token

    def fail(self, wanted: str) -> UsageError:
        token = self.peek()
        return UsageError(
            f"method text: expected {wanted}, found {token.text!r} at position {token.at + 1} in {self.source!r}"
        )

    def skip(self, mark: str) -> bool:
        if self.peek().text == mark and self.peek().kind == "mark":
            self.at += 1
            return True
        return False

    def expect_end(self) -> None:
        if self.peek().kind != "end":
            raise self.fail("'+' or the end")

    def sum(self, depth: int) -> Sum:
        if depth > MAX_DEPTH:
            raise UsageError(f"a method text nests at most {MAX_DEPTH} deep")
        result = Sum() + self.method(depth)
        while self.skip("+"):
            result = result + self.method(depth)
        return result

    def method(self, depth: int) -> Method:
        if self.peek().kind != "name":
            raise self.fail("the name of a method")
        stem, preset = self.take().text, ""
        if self.skip("@"):
            if self.peek().kind != "name":
                raise self.fail("the name of a preset")
            preset = self.take().text
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        if self.skip("(") and not self.skip(")"):
            self.arguments(args, kwargs, depth)
        return create(stem, preset, args, kwargs)

    def arguments(self, args: list[Any], kwargs: dict[str, Any], depth: int) -> None:
        while True:
            if self.peek().kind == "name" and self.peek(1).text == "=":
                name = self.take().text
                self.take()
                if name in kwargs:
                    raise UsageError(f"method text: {name} is given twice in {self.source!r}")
                kwargs[name] = self.value(depth)
            elif kwargs:
                raise self.fail("name=value after the first named value")
            else:
                args.append(self.value(depth))
            if self.skip(")"):
                return
            if not self.skip(","):
                raise self.fail("',' or ')'")

    def value(self, depth: int) -> Any:
        token = self.peek()
        if token.kind == "number":
            self.take()
            return float(token.text) if re.search(r"[.eE]", token.text) else int(token.text)
        if token.kind == "string":
            return self.take().text[1:-1]
        if token.kind == "name" and token.text in _LITERALS:
            self.take()
            return _LITERALS[token.text]
        if token.kind == "name":
            return self.sum(depth + 1)
        raise self.fail("a number, a 'string', true, false, inf or a method")
