"""A method with its state in one run, and the checks that a composition must pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from holdfast.core.errors import ConflictError
from holdfast.core.method import Method, State, Sum


@dataclass
class Member:
    """One method of a composition: its key in logs and checkpoints, its state, what it wraps."""

    method: Method
    key: str
    children: list[Member] = field(default_factory=list)
    state: State = field(default_factory=State)

    @property
    def taps(self) -> tuple[str, ...]:
        """The method's taps in this network; known once it is bound."""
        return tuple(self.method.tap_names(self.state))

    def walk(self) -> Iterator[Member]:
        """This member and all that it wraps."""
        yield self
        for child in self.children:
            yield from child.walk()


def members(expression: Sum) -> list[Member]:
    """Members of a composition; the second method of one stem gets the key ``stem#2``.

    Raises:
        ConflictError: two owners of one thing; the message names both.
    """
    counts: Counter[str] = Counter()

    def make(methods: Iterable[Method]) -> list[Member]:
        made = []
        for method in methods:
            counts[method.stem] += 1
            key = method.stem if counts[method.stem] == 1 else f"{method.stem}#{counts[method.stem]}"
            made.append(Member(method, key, make(method.children)))
        return made

    result = make(expression)
    _check_single_owner([m for top in result for m in top.walk()])
    return result


def _check_single_owner(everything: list[Member]) -> None:
    owners: dict[str, Method] = {}
    for member in everything:
        method = member.method
        owned = [f"the learning rate of the {role}" for role in method.owned_rates]
        if method.combines_grads:
            owned.append("the rule between task and penalty gradients")
        for thing in owned:
            if thing in owners:
                raise ConflictError(f"{owners[thing]} and {method} both own {thing}: keep one of them")
            owners[thing] = method
