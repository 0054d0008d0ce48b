"""Put lines into the upgrade() and downgrade() of a revision file."""

import ast
from collections.abc import Sequence

from toolkit.migration.missed.find import Missed

HEADING = "# not seen by autogenerate: "
IMPORTS = {"op": "from alembic import op", "sa": "import sqlalchemy as sa"}


def add_lines(source: str, missed: Sequence[Missed]) -> str:
    """The revision with the lines of all that have some; unchanged if none has.

    What other operations need goes before what is there, the rest behind it; in downgrade()
    the other way round. A lone `pass` is replaced. Raises ValueError if the source has no
    upgrade() or downgrade().
    """
    written = [one for one in missed if one.upgrade_lines]
    if not written:
        return source
    late = [one for one in written if not one.early]
    early = [one for one in written if one.early]
    source = add_to(
        source,
        "upgrade",
        [line for one in early for line in block(one.words, one.upgrade_lines)],
        [line for one in late for line in block(one.words, one.upgrade_lines)],
    )
    source = add_to(
        source,
        "downgrade",
        [line for one in reversed(late) for line in block("", one.downgrade_lines)],
        [line for one in reversed(early) for line in block("", one.downgrade_lines)],
    )
    return add_imports(source)


def block(words: str, lines: Sequence[str]) -> list[str]:
    if not words:
        return list(lines)
    text = HEADING + " ".join(words.split())
    return [text if len(text) <= 95 else text[:92] + "...", *lines]


def find_function(tree: ast.Module, name: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise ValueError(f"the revision has no {name}() at its top level")


def add_to(source: str, name: str, first: list[str], last: list[str]) -> str:
    """`first` before the statements of the function, `last` behind them."""
    if not first and not last:
        return source
    function = find_function(ast.parse(source), name)
    lines = source.splitlines()
    body = function.body
    statement = body[0]
    if (
        statement.lineno == function.lineno
        or not lines[statement.lineno - 1][: statement.col_offset].isspace()
    ):
        # `def upgrade(): pass`
        head = lines[statement.lineno - 1][: statement.col_offset].rstrip()
        tail = lines[statement.lineno - 1][statement.col_offset :]
        lines[statement.lineno - 1 : statement.lineno] = [head, f"    {tail}"]
        return add_to("\n".join(lines) + "\n", name, first, last)
    indent = lines[statement.lineno - 1][: statement.col_offset]
    documented = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    begin = body[0].end_lineno if documented else function_head(function)
    end = end_of_comments(lines, body[-1].end_lineno or 0, indent)
    assert begin is not None
    kept = lines[begin:end]
    work = body[1:] if documented else body
    if len(work) == 1 and isinstance(work[0], ast.Pass):
        del kept[work[0].lineno - 1 - begin]
    lines[begin:end] = [
        *(f"{indent}{line}".rstrip() for line in first),
        *kept,
        *(f"{indent}{line}".rstrip() for line in last),
    ]
    return "\n".join(lines) + "\n"


def function_head(function: ast.FunctionDef) -> int:
    """The number of the line that ends `def ...:`; comments below it stay below."""
    ends = [function.lineno, *(one.end_lineno or 0 for one in function.args.args)]
    return max(ends if function.returns is None else [*ends, function.returns.end_lineno or 0])


def end_of_comments(lines: list[str], end: int, indent: str) -> int:
    """Behind the comments that end the function: `### end Alembic commands ###`."""
    while end < len(lines) and lines[end].startswith(f"{indent}#"):
        end += 1
    return end


def add_imports(source: str) -> str:
    tree = ast.parse(source)
    bound = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    missing = [line for name, line in IMPORTS.items() if name in used - bound]
    if not missing:
        return source
    lines = source.splitlines()
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    head = tree.body[0]
    documented = isinstance(head, ast.Expr) and isinstance(head.value, ast.Constant)
    place = (imports[-1] if imports else head).end_lineno if imports or documented else 0
    lines[place:place] = missing
    return "\n".join(lines) + "\n"
