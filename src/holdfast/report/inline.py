"""SVG as a part of a page: the page's fonts and colours, identifiers of its own, and nothing that could do harm.

A figure that was drawn here is taken as it is; one from a file goes through ``cleaned`` first, which keeps only what it
knows: shapes, texts, embedded pictures, and references within the drawing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

from holdfast.report.palette import INK, PAPER, ROLES, SERIES

SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_OURS = {colour.light: colour for colour in (*ROLES, *SERIES)} | {"#000000": INK, "#ffffff": PAPER}
_VARIABLES = {drawn: f"var({colour.variable}, {drawn})" for drawn, colour in _OURS.items()}

_SHAPES = frozenset({"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"})
_WORDED = frozenset({"text", "tspan"})
_HOLDING = frozenset({"svg", "g", "defs", "clipPath", "pattern", "linearGradient"})
_REFERRING = frozenset({"use", "image"})
_ELEMENTS = _SHAPES | _WORDED | _HOLDING | _REFERRING | {"stop"}
_LOOKS = """fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-dasharray stroke-linecap
    stroke-linejoin opacity stop-color stop-opacity text-anchor font-size font-weight font-style"""
_PLACES = """id d x y x1 y1 x2 y2 dx dy cx cy r rx ry width height points transform viewBox preserveAspectRatio
    clip-path clipPathUnits patternUnits patternContentUnits patternTransform gradientUnits gradientTransform offset"""
_MORE_LOOKS = "clip-rule stroke-dashoffset stroke-miterlimit dominant-baseline font font-stretch image-rendering"
_ATTRIBUTES = frozenset(f"{_LOOKS} {_PLACES}".split())
_PROPERTIES = frozenset(f"{_LOOKS} {_MORE_LOOKS}".split())
_NAME = r"[\w.:-]+"
_LOCAL = re.compile(rf"url\(#({_NAME})\)")
_CALL = re.compile(r"([\w-]+)\s*\(")
_FUNCTIONS = frozenset({"rgb", "rgba", "matrix", "translate", "rotate", "scale", "skewX", "skewY"})
_PLAIN = re.compile(r"[\w\s#.,()%+'\"/-]*")
_EMBEDDED = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=\s]*")


def inlined(root: ET.Element, name: str, label: str, *, turns: bool = True) -> str:
    """Markup of a drawing that stretches to the width of its place.

    Args:
        root: the ``svg`` element; it is changed.
        name: letters, digits and hyphens, unique on the page; identifiers inside begin with it.
        label: the text alternative, what a reader who cannot see the figure is told; without control characters.
        turns: whether its colours follow the scheme; otherwise it keeps them, and lies on light paper.
    """
    for definitions in root.findall(f"{{{SVG}}}defs"):  # matplotlib's style rule would hold for the whole page
        if definitions.find(f"{{{SVG}}}style") is not None:
            root.remove(definitions)
    _rename(root, name)
    for element in root.iter():
        if (style := element.get("style")) is not None:
            style = re.sub(r"font-family: [^;]+;? ?", "", style)
            element.set("style", _recolour(style) if turns else style)
    root.set("style", f"fill: {_VARIABLES[INK.light]}" if turns else f"background: {PAPER.light}")
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("font-family", "system-ui, sans-serif")
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", _XLINK)
    return ET.tostring(root, encoding="unicode")


def _recolour(style: str) -> str:
    return re.sub(r"#[0-9a-f]{6}", lambda found: _VARIABLES.get(found[0], found[0]), style)


def _rename(root: ET.Element, name: str) -> None:
    """Keep the identifiers that something refers to, prefixed, so that two figures on a page cannot clash."""
    used = {found for element in root.iter() for value in element.attrib.values() for found in _LOCAL.findall(value)}
    used |= {element.get(_HREF, "")[1:] for element in root.iter() if element.get(_HREF, "").startswith("#")}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        for key, value in element.items():
            element.set(key, _LOCAL.sub(rf"url(#{name}-\1)", value))
        if (target := element.get(_HREF, "")).startswith("#"):
            element.set(_HREF, f"#{name}-{target[1:]}")
        if old in used:
            element.set("id", f"{name}-{old}")


def cleaned(content: bytes) -> ET.Element:
    """A drawing of unknown origin with nothing in it but what is known to be harmless.

    Scripts, event handlers, style sheets, links, animation, foreign elements, addresses outside the drawing and
    references to anything but a single shape are left out.

    Raises:
        ValueError: it is no SVG, or one that declares entities.
    """
    text = content.decode("utf-8")
    if "<!ENTITY" in text:
        raise ValueError("it declares entities")
    try:
        root = ET.fromstring(text)
        if root.tag != f"{{{SVG}}}svg":
            raise ValueError("it is no SVG")
        shapes = {element.get("id") for element in root.iter() if _local(element.tag) in _SHAPES}
        return _copy(root, lambda target: target[1:] in shapes)
    except (ET.ParseError, RecursionError) as error:
        raise ValueError(f"it is no well-formed SVG: {error}") from error


def _local(tag: object) -> str:
    """Name of an element of SVG; empty for comments, processing instructions and other languages."""
    space, _, name = str(tag).rpartition("}")
    return name if space == f"{{{SVG}" else ""


def _copy(source: ET.Element, is_shape: Callable[[str], bool]) -> ET.Element:
    tag = _local(source.tag)
    made = ET.Element(f"{{{SVG}}}{tag}")
    for key, value in source.items():
        if key == "style":
            made.set(key, _style(value))
        elif key in _ATTRIBUTES and _harmless(value):
            made.set(key, value)
        elif key in ("href", _HREF) and _may_refer(tag, value, is_shape):
            made.set(_HREF, value)
    if tag in _WORDED:
        made.text = source.text
    for child in source:
        if _local(child.tag) in _ELEMENTS:
            kept = _copy(child, is_shape)
            kept.tail = child.tail if tag in _WORDED else None
            if _local(child.tag) not in _REFERRING or kept.get(_HREF) is not None:
                made.append(kept)
    return made


def _may_refer(tag: str, value: str, is_shape: Callable[[str], bool]) -> bool:
    # A reference to a group of references could stand for any number of shapes.
    if tag == "use":
        return value.startswith("#") and is_shape(value)
    return tag == "image" and _EMBEDDED.fullmatch(value) is not None


def _harmless(value: str) -> bool:
    """Whether a value is plain characters and calls nothing but colours, movements and a place within the drawing."""
    return _PLAIN.fullmatch(value) is not None and set(_CALL.findall(_LOCAL.sub("", value))) <= _FUNCTIONS


def _style(text: str) -> str:
    kept = []
    for declaration in text.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name in _PROPERTIES and _harmless(value):
            kept.append(f"{name}: {value}")
    return "; ".join(kept)
