"""The application's module: give the FastAPI object its lifespan, where that is simple."""

import ast


def with_lifespan(text: str, attribute: str, module: str) -> str | None:
    """`text` with `lifespan` of `module` imported and passed to `attribute = FastAPI(...)`.

    The text itself when that is so already. None where it is not simple: another
    lifespan, start-up handlers, an application made in a function.
    """
    if f"from {module} import" in text and "lifespan" in text:
        return text
    try:
        tree = ast.parse(text.removeprefix("\ufeff"))
    except SyntaxError:
        return None
    call = _application_call(tree, attribute)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    functions = {getattr(node, "name", "") for node in ast.walk(tree)}
    if call is None or "lifespan" in names | functions or "on_event" in text:
        return None
    if any(keyword.arg in (None, "lifespan", "on_startup") for keyword in call.keywords):
        return None
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
    _add_argument(lines, call, newline)
    position, blank = _import_position(tree, module)
    lines.insert(position, f"{newline * blank}from {module} import lifespan{newline}")
    result = "".join(lines)
    try:
        ast.parse(result.removeprefix("\ufeff"))
    except SyntaxError:
        return None
    return result


def _import_position(tree: ast.Module, module: str) -> tuple[int, bool]:
    """The line to insert `from module import ...` at, and whether a blank line goes before it.

    In the alphabet among the package's other imports, as sorters of imports have it;
    where there are none, in a group of its own at the end.
    """
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    package = module.partition(".")[0]
    own = [
        node
        for node in imports
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and (node.module or "").partition(".")[0] == package
    ]
    for node in own:
        if (node.module or "") > module:
            return node.lineno - 1, False
    if own:
        return own[-1].end_lineno or 0, False
    return imports[-1].end_lineno or 0, True


def _application_call(tree: ast.Module, attribute: str) -> ast.Call | None:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            target: ast.expr = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        else:
            continue
        call = node.value
        if not isinstance(target, ast.Name) or target.id != attribute:
            continue
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("FastAPI"):
            return call
    return None


def _add_argument(lines: list[str], call: ast.Call, newline: str) -> None:
    """Put `lifespan=lifespan` behind the last argument, on a line of its own if that has one."""
    arguments: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    last = max(
        arguments, key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0), default=None
    )
    if last is None or last.end_lineno == call.end_lineno:
        row, column = (call.end_lineno or 1) - 1, (call.end_col_offset or 1) - 1
        before = _cut(lines[row], 0, column).rstrip()
        comma = "" if last is None else (" " if before.endswith(",") else ", ")
        lines[row] = f"{before}{comma}lifespan=lifespan{_cut(lines[row], column)}"
        return
    row, column = (last.end_lineno or 1) - 1, last.end_col_offset or 0
    rest = _cut(lines[row], column)
    comma = "" if rest.lstrip().startswith(",") else ","
    # The keyword's own line has the indentation that its neighbours have.
    first = min(arguments, key=lambda node: node.lineno)
    indent = lines[first.lineno - 1][
        : len(lines[first.lineno - 1]) - len(lines[first.lineno - 1].lstrip())
    ]
    lines[row] = f"{_cut(lines[row], 0, column)}{comma}{rest}{indent}lifespan=lifespan,{newline}"


def _cut(line: str, start: int, end: int | None = None) -> str:
    """A part of a line by the byte offsets that `ast` counts in."""
    return line.encode()[start:end].decode()
