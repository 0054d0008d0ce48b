"""Strings that are put together: f-strings, `+`, `%` and `.format()`."""

import ast
import re
import string
from collections.abc import Iterator

Part = str | ast.expr
"""A fixed part, or what changes."""
_PLACE = re.compile(r"%(?:\((?P<name>\w+)\))?[-#0 +]*[\d*]*(?:\.[\d*]+)?(?P<kind>[a-zA-Z%])")


def parts_of(node: ast.expr) -> Iterator[Part]:
    """The fixed and the changing parts of a string, in their order."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            for value in node.values:
                if isinstance(value, ast.FormattedValue):
                    yield value.value
                else:
                    yield from parts_of(value)
        case ast.BinOp(op=ast.Add()):
            for side in (node.left, node.right):
                yield from list(parts_of(side)) or [side]
        case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str(text)), right=given):
            yield from by_percent(text, given)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            yield from by_format(text, node)


def by_percent(text: str, given: ast.expr) -> Iterator[Part]:
    """Of `text % given`. A number's place (`%d`) takes no text."""
    pairs = zip(given.keys, given.values, strict=True) if isinstance(given, ast.Dict) else ()
    named = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
    following = iter(given.elts if isinstance(given, ast.Tuple) else [given])
    at = 0
    for place in _PLACE.finditer(text):
        yield text[at : place.start()]
        at = place.end()
        if place["kind"] == "%":
            yield "%"
            continue
        value = named.get(place["name"]) if place["name"] else next(following, None)
        yield value if value is not None and place["kind"] in "sra" else "0"
    yield text[at:]


def by_format(text: str, call: ast.Call) -> Iterator[Part]:
    """Of `text.format(...)`."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    following = iter(call.args)
    try:
        places = list(string.Formatter().parse(text))
    except ValueError:
        return
    for fixed, field, _, _ in places:
        yield fixed
        if field is None:
            continue
        name = re.split(r"[.\[]", field, maxsplit=1)[0]
        if name.isdigit():
            value = call.args[int(name)] if int(name) < len(call.args) else None
        else:
            value = named.get(name) if name else next(following, None)
        yield value if value is not None else "0"
