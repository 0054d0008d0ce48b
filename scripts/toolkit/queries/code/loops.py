"""Statements once for each item, and one session used by several tasks at once."""

import ast
import re
from collections.abc import Iterator

from toolkit.project.expressions import parameters
from toolkit.project.imports import dotted
from toolkit.queries.code.context import Context
from toolkit.queries.code.queries import LITERALS, Item, method
from toolkit.queries.code.source import inner_nodes, names_in, own_nodes
from toolkit.queries.finding import QueryFinding

_IN_CHUNKS = re.compile(r"(?i)chunk|batch|page|partition|group|slice|window|attempt|retr|poll")
_WRAPPERS = {"enumerate", "zip", "reversed", "sorted", "list", "tuple", "set", "tqdm"}
_WRITES = {"insert", "pg_insert", "mysql_insert", "update", "delete", "text", "values"}
_WRITES |= {"on_conflict_do_update", "on_conflict_do_nothing", "on_duplicate_key_update"}
AWAITED = {"execute", "scalar", "scalars", "get", "get_one", "refresh"}
_CHANGES = re.compile(
    r"_*(create|insert|add|save|store|update|upsert|delete|remove|set|mark|write)"
)
Loop = ast.For | ast.AsyncFor | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def statement_in_loop(context: Context) -> Iterator[QueryFinding]:
    """`for id in ids: await session.get(Post, id)`."""
    if context.function.background:
        return
    seen: set[int] = set()
    for loop, target, iterated, inside in loops(context):
        if not is_open_ended(context, target, iterated) or ends_early(loop):
            continue
        varying = changed_in(inside, names_in(target))
        handed_on = carried(context, inside, loop.lineno)
        for node in inside:
            call = node.value if isinstance(node, ast.Await) else None
            if not isinstance(call, ast.Call) or call.lineno in seen:
                continue
            used = names_behind(context, call)
            if not used & varying or used & handed_on:
                continue
            words = how_it_asks(context, call, varying)
            if words and not same_each_time(context, call, iterated):
                seen.add(call.lineno)
                yield context.finding(
                    "statement-in-loop",
                    call,
                    f"{words} in a loop: as many statements as there are items.",
                    one_statement(context, call, target),
                    more=(f"the loop is over {ast.unparse(iterated)[:80]}",),
                )


def loops(
    context: Context,
) -> Iterator[tuple[Loop, ast.expr, ast.expr, list[ast.AST]]]:
    """Each loop: its target, what it goes over, and the nodes that run for each item."""
    for node in context.nodes:
        if isinstance(node, ast.For | ast.AsyncFor):
            inside = [one for statement in node.body for one in inner_nodes(statement)]
            yield node, node.target, node.iter, inside
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            first = node.generators[0]
            parts: list[ast.AST] = [*results, *first.ifs]
            inside = [one for part in parts for one in inner_nodes(part)]
            yield node, first.target, first.iter, inside


def is_open_ended(context: Context, target: ast.expr, iterated: ast.expr) -> bool:
    """May it be many? Not a literal, a range, an Enum, sessions of a generator, or chunks."""
    while isinstance(iterated, ast.Call) and (dotted(iterated.func) or "") in _WRAPPERS:
        if not iterated.args:
            return False
        iterated = iterated.args[0]
    if isinstance(iterated, ast.Await):
        iterated = iterated.value
    if isinstance(iterated, LITERALS):
        return False
    text = f"{ast.unparse(target)} {ast.unparse(iterated)}"
    if _IN_CHUNKS.search(text) or ast.unparse(target).strip("_").endswith("session"):
        return False
    if isinstance(iterated, ast.Call):
        name = dotted(iterated.func) or ""
        if name.rpartition(".")[2] in {"range", "count", "get_session", "get_db"}:
            return False
        if has_few_keys(context, iterated):
            return False
        if method(iterated) in {"items", "keys", "values"} and not iterated.args:
            assert isinstance(iterated.func, ast.Attribute)
            iterated = iterated.func.value
    if isinstance(iterated, ast.Attribute | ast.Name) and is_fixed(context, iterated):
        return False
    return not any(context.is_session(name) for name in [target] if isinstance(name, ast.Name))


def has_few_keys(context: Context, call: ast.Call) -> bool:
    """`model_dump().items()`: as many as the class has fields."""
    source: ast.expr = call
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        variable = context.queries.variables.get(call.func.value.id)
        if variable is not None and len(variable.values) == 1:
            source = variable.values[0][1]
    return any(
        isinstance(node, ast.Call) and method(node) in {"model_dump", "dict"}
        for part in (source, call)
        for node in ast.walk(part)
    )


def is_fixed(context: Context, node: ast.expr) -> bool:
    """A literal under a name (of the function or a module), a constant, an Enum."""
    text = dotted(node) or ""
    if text.rpartition(".")[2].isupper():
        return True
    if isinstance(node, ast.Name) and node.id in context.queries.variables:
        variable = context.queries.variables[node.id]
        values = [value for _, value in variable.values]
        appended = any(
            method(one) in {"append", "extend", "add", "update", "insert"}
            and isinstance(one.func, ast.Attribute)
            and dotted(one.func.value) == text
            for one in context.nodes
            if isinstance(one, ast.Call)
        )
        literal = bool(values) and all(isinstance(value, LITERALS) for value in values)
        return literal and not variable.opaque and not appended
    sources = context.project.sources
    full = context.full_name(node)
    if full in sources.index.classes:
        return True
    place = sources.resolver.locate(full)
    value = sources.resolver.bindings(place[0]).values.get(place[1]) if place else None
    return isinstance(value, LITERALS)


def ends_early(loop: Loop) -> bool:
    """It leaves at the first that fits, or is tried again: not one statement for each."""
    if not isinstance(loop, ast.For | ast.AsyncFor):
        return False
    for statement in loop.body:
        for node in inner_nodes(statement):
            if isinstance(node, ast.Return | ast.Break):
                return True
    return False


def changed_in(inside: list[ast.AST], names: set[str]) -> set[str]:
    """`names`, and those that the loop makes out of them."""
    found = set(names)
    for _ in range(3):
        for node in inside:
            if isinstance(node, ast.Assign) and names_in(node.value) & found:
                found |= {name for target in node.targets for name in names_in(target)}
            elif isinstance(node, ast.comprehension | ast.For) and names_in(node.iter) & found:
                found |= names_in(node.target)
    return found


def carried(context: Context, inside: list[ast.AST], line: int) -> set[str]:
    """Names that one round hands on to the next (`parent = ...`): one statement can't do it."""
    stored = {
        node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    variables = context.queries.variables
    return {
        name
        for name in stored
        if name in variables
        and (variables[name].opaque or any(at < line for at, _ in variables[name].values))
    }


def names_behind(context: Context, call: ast.Call) -> set[str]:
    """The names in a call, and those in the statement that it is given by name."""
    found = names_in(call)
    for name in sorted(found):
        variable = context.queries.variables.get(name)
        for _, value in variable.values if variable else ():
            if isinstance(value, ast.Call):
                found |= names_in(value)
    return found


def same_each_time(context: Context, call: ast.Call, iterated: ast.expr) -> bool:
    """`get(User, post.author_id)` for the posts of one author: the session has it."""
    key = call.args[1] if method(call) in {"get", "get_one"} and len(call.args) > 1 else None
    held = context.queries.held(Item(iterated))
    if not isinstance(key, ast.Attribute) or held is None or held.select is None:
        return False
    return any(
        isinstance(node, ast.Compare)
        and isinstance(node.ops[0], ast.Eq)
        and isinstance(node.left, ast.Attribute)
        and node.left.attr == key.attr
        for where in held.select.called("where", "filter")
        for argument in where.args
        for node in ast.walk(argument)
    )


def how_it_asks(context: Context, call: ast.Call, varying: set[str]) -> str:
    """In words what is awaited, if it is a statement of this function's session."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in AWAITED:
        if not context.is_session(function.value) or names_in(function.value) & varying:
            return helper(context, call, varying)
        if function.attr in {"get", "get_one"}:
            known = context.project.models.of(context.function.module, call.args[0])
            if known is None:
                return ""
        if writes(context, call):
            return ""
        return f"{ast.unparse(function)}()"
    return helper(context, call, varying)


def writes(context: Context, call: ast.Call) -> bool:
    """Writes for each item can be what is wanted, and the capture layer counts them."""
    if not call.args:
        return False
    names = names_in(call.args[0])
    parts: list[ast.AST] = [call.args[0]]
    for name in names:
        variable = context.queries.variables.get(name)
        parts += [value for _, value in variable.values] if variable else []
    return any(
        isinstance(node, ast.Call)
        and (method(node) or dotted(node.func) or "").rpartition(".")[2] in _WRITES
        for part in parts
        for node in ast.walk(part)
    )


def helper(context: Context, call: ast.Call, varying: set[str]) -> str:
    """`await get_author(session, id)`, where that function of the project asks once."""
    passed = [one for one in (*call.args, *(k.value for k in call.keywords))]
    sessions = [one for one in passed if isinstance(one, ast.Name) and context.is_session(one)]
    if len(sessions) != 1 or sessions[0].id in varying:
        return ""
    sources = context.project.sources
    place = sources.resolver.locate(context.full_name(call.func))
    if place is None or place[2]:
        return ""
    node = sources.resolver.bindings(place[0]).functions.get(place[1])
    if not isinstance(node, ast.AsyncFunctionDef):
        return ""
    other = next(
        (one for one in sources.functions if one.node is node),
        None,
    )
    if other is None:
        return ""
    if _CHANGES.match(node.name):
        return ""
    names = set(parameters(node))
    inner = Context(other, context.project)
    asked = [
        one
        for one in own_nodes(node)
        if isinstance(one, ast.Await)
        and isinstance(one.value, ast.Call)
        and method(one.value) in AWAITED - {"refresh"}
        and isinstance(one.value.func, ast.Attribute)
        and isinstance(one.value.func.value, ast.Name)
        and one.value.func.value.id in names
        and inner.is_session(one.value.func.value)
        and not writes(inner, one.value)
        and names_in(one.value)
    ]
    written = any(
        isinstance(one, ast.Call) and method(one) in {"add", "add_all", "commit", "flush", "delete"}
        for one in own_nodes(node)
    )
    return f"{ast.unparse(call.func)}(), which asks the database," if asked and not written else ""


def one_statement(context: Context, call: ast.Call, target: ast.expr) -> str:
    """The same with one statement, as far as the call shows how."""
    model = None
    if method(call) in {"get", "get_one"} and len(call.args) > 1:
        model = context.project.models.of(context.function.module, call.args[0])
    if model is not None and isinstance(call.func, ast.Attribute):
        session = ast.unparse(call.func.value)
        key = ast.unparse(call.args[1])
        return (
            f"keys = {{{key} for {ast.unparse(target)} in ...}}\n"
            f"found = await {session}.scalars(select({model.name})"
            f".where({model.name}.id.in_(keys)))\n"
            "by_id = {one.id: one for one in found}"
        )
    if method(call) == "refresh":
        return (
            "# one statement for all: select them again with the options that you need\n"
            "await session.execute(select(Model).where(Model.id.in_(ids))"
            ".options(selectinload(...)).execution_options(populate_existing=True))"
        )
    return (
        "# one statement before the loop, a dictionary in it\n"
        "rows = await session.execute(select(...).where(Model.key.in_(keys)))\n"
        "by_key = {row.key: row for row in rows}"
    )
