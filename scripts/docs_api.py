"""What the API pages show of fields that are declared by a call, and of a method's class."""

from __future__ import annotations

import ast
from typing import Any

from griffe import Attribute, Class, Docstring, ExprCall, ExprKeyword, Extension, Module

DECLARED_BY = {"hyper": None, "_option": 1}
"""Functions that declare a field: the default comes first, the description as ``doc`` or at this position."""


class ApiPages(Extension):
    """Shows ``R: float = hyper(3.0, above=0, doc="wanted ratio")`` as a value of 3.0 that means the wanted ratio.

    Of the methods' classes the pages show these arguments alone: the hooks are explained with the contract.
    """

    def __init__(self) -> None:
        super().__init__()
        self._declared: set[str] = set()

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Replace a declaring call by the default that it declares, and take its text as the description."""
        call = attr.value
        if not isinstance(call, ExprCall) or str(call.function) not in DECLARED_BY:
            return
        given = [argument for argument in call.arguments if not isinstance(argument, ExprKeyword)]
        named = {argument.name: argument.value for argument in call.arguments if isinstance(argument, ExprKeyword)}
        place = DECLARED_BY[str(call.function)]
        text = named["doc"] if place is None else given[place]
        attr.value = given[0]
        attr.docstring = Docstring(ast.literal_eval(str(text)), parent=attr)
        self._declared.add(attr.path)

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Describe the hyper-parameters of each method as its arguments, and leave out all other members."""
        for module in pkg["methods"].modules.values():
            for cls in module.classes.values():
                self._as_arguments(cls)

    def _as_arguments(self, cls: Class) -> None:
        fields = {
            name: attr.docstring.value
            for each in [*reversed(cls.mro()), cls]
            for name, attr in each.attributes.items()
            if attr.path in self._declared and attr.docstring is not None
        }
        if fields and cls.docstring is not None:
            lines = [f"    {name}: {text}" for name, text in fields.items()]
            cls.docstring.value += "\n\nArgs:\n" + "\n".join(lines)
        for name, member in list(cls.members.items()):
            if member.is_function or "property" in member.labels:
                cls.del_member(name)
            elif member.path in self._declared:
                member.docstring = None
