"""Edits of the `alter_column` calls that Alembic wrote into a revision (#13).

Alembic renders neither USING nor the order in which a default has to step aside.
"""

import ast
import re
from collections.abc import Iterator

from toolkit.migration.missed.insert import find_function
from toolkit.migration.missed.source import literal

LITERAL = re.compile(r"^('(?:[^']|'')*')::[^']+$")


def type_changes(source: str, function: str, place: str) -> list[ast.Call]:
    """The calls that give this column (`table.column`, `schema.table.column`) a type."""
    return [
        call
        for call, table in alter_calls(find_function(ast.parse(source), function))
        if any(one.arg == "type_" for one in call.keywords)
        and place in {f"{table}.{column_of(call)}", f"{schema_of(call)}{table}.{column_of(call)}"}
    ]


def alter_calls(function: ast.FunctionDef) -> Iterator[tuple[ast.Call, str]]:
    """With the table, which batch mode names in its `with`."""
    for statement in function.body:
        table = ""
        if isinstance(statement, ast.With) and isinstance(
            opened := statement.items[0].context_expr, ast.Call
        ):
            table = text_of(opened.args[0]) if opened.args else ""
        for node in ast.walk(statement):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "alter_column"
                and node.args
            ):
                yield node, table or text_of(node.args[0])


def text_of(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def column_of(call: ast.Call) -> str:
    return text_of(call.args[-1])


def schema_of(call: ast.Call) -> str:
    named = [text_of(one.value) for one in call.keywords if one.arg == "schema"]
    return f"{named[0]}." if named else ""


def with_using(source: str, function: str, place: str, expression: str) -> str:
    """Each of those calls converts with this SQL; unchanged where there is none."""
    for call in reversed(type_changes(source, function, place)):
        source = with_argument(source, call, f"postgresql_using={literal(expression)}")
    return source


def with_argument(source: str, call: ast.Call, argument: str) -> str:
    """That call with one more, behind the others."""
    lines = source.splitlines(keepends=True)
    last = call.keywords[-1].value
    assert last.end_lineno is not None
    line = lines[last.end_lineno - 1].encode()
    alone = call.lineno == last.end_lineno
    indent = indent_of(lines[last.end_lineno - 1]) + " " * (8 * alone)
    added = f",\n{indent}{argument}".encode()
    end = last.end_col_offset
    lines[last.end_lineno - 1] = (line[:end] + added + line[end:]).decode()
    return "".join(lines)


def identity_told(source: str, function: str) -> str:
    """A column whose identity goes or changes is told which one it has, from the other function.

    Alembic writes `server_default` alone: DROP DEFAULT, or ADD GENERATED again, which are refused.
    """
    tree = ast.parse(source)
    other = find_function(tree, "upgrade" if function == "downgrade" else "downgrade")
    given = {
        (schema_of(call), table, column_of(call)): ast.unparse(default)
        for call, table in alter_calls(other)
        if (default := argument_of(call, "server_default")) and "Identity(" in ast.unparse(default)
    }
    for call, table in reversed(list(alter_calls(find_function(tree, function)))):
        identity = given.get((schema_of(call), table, column_of(call)))
        changes = argument_of(call, "server_default")
        if identity and changes and not argument_of(call, "existing_server_default"):
            source = with_argument(source, call, f"existing_server_default={identity}")
    return source


def argument_of(call: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in call.keywords if one.arg == name), None)


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def default_aside(source: str, function: str, place: str) -> str:
    """The default is dropped before its column's type changes, and set again behind that.

    PostgreSQL does not convert a default, and Alembic changes the type first.
    """
    for call in reversed(type_changes(source, function, place)):
        lines = source.splitlines()
        on = ast.unparse(call.func)
        keys = [ast.unparse(one) for one in call.args]
        keys += [ast.unparse(one) for one in call.keywords if one.arg == "schema"]
        indent = indent_of(lines[call.lineno - 1])
        named = {one.arg: one.value for one in call.keywords}
        if "server_default" not in named and "existing_server_default" in named:
            again = ast.unparse(without_cast(named["existing_server_default"]))
            assert call.end_lineno is not None
            lines.insert(
                call.end_lineno, f"{indent}{on}({', '.join([*keys, f'server_default={again}'])})"
            )
        lines.insert(call.lineno - 1, f"{indent}{on}({', '.join([*keys, 'server_default=None'])})")
        source = "\n".join(lines) + "\n"
    return source


def defaults_aside(source: str, function: str) -> str:
    """Each default that stays while its column's type changes: it may name a type that goes."""
    places = [
        f"{schema_of(call)}{table}.{column_of(call)}"
        for call, table in alter_calls(find_function(ast.parse(source), function))
        if {"type_", "existing_server_default"} <= {one.arg for one in call.keywords}
    ]
    for place in places:
        source = default_aside(source, function, place)
    return source


def without_cast(default: ast.expr) -> ast.expr:
    """`sa.text("'a'::kind")` with 'a' only: PostgreSQL adds the type that the column has then."""
    for node in ast.walk(default):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = LITERAL.sub(r"\1", node.value)
    return default
