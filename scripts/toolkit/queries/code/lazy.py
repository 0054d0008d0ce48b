"""Relationships read without having been loaded, and attributes read after a commit."""

import ast
from collections.abc import Iterator

from toolkit.queries.code.context import Context
from toolkit.queries.code.models import Relationship
from toolkit.queries.code.queries import Held, Item, Select, mentions, method
from toolkit.queries.code.routes import one_of_list, schema_fields
from toolkit.queries.code.source import annotations_of, inner_nodes, names_in
from toolkit.queries.finding import QueryFinding


def lazy_relationship(context: Context) -> Iterator[QueryFinding]:
    """A default-lazy relationship that is read where query, model and attribute are in sight."""
    seen: set[tuple[str, str]] = set()
    for node in context.nodes:
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        if not isinstance(node.value, ast.Name):
            continue
        held = context.queries.held(node.value)
        relationship = unloaded(context, held, node.attr, node.value.id, node.lineno)
        if held is None or relationship is None or held.made:
            continue
        key = (held.model.name, node.attr)
        if key not in seen:
            seen.add(key)
            yield context.finding(
                "lazy-relationship",
                node,
                f"{held.model.name}.{node.attr} is read, and the query does not load it: with an"
                " asynchronous session that raises MissingGreenlet.",
                loading(held, relationship),
                load=(held, option_for(held, relationship)),
                table=held.model.table,
                more=(f"loaded on line {held.line}, relationship on line {relationship.line}",),
            )


def lazy_response(context: Context) -> Iterator[QueryFinding]:
    """The same, read by FastAPI when it makes the response out of the object."""
    endpoint = context.endpoint
    if endpoint is None or endpoint.answer is None:
        return
    inner = one_of_list(endpoint.answer)
    schema = inner if inner is not None else endpoint.answer
    fields = schema_fields(context.project.sources, context.function.module, schema)
    for node in context.nodes:
        if not fields or not isinstance(node, ast.Return) or node.value is None:
            continue
        held = context.queries.held(Item(node.value) if inner is not None else node.value)
        if held is None or held.shape != "one":
            continue
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        for field in sorted(fields & set(held.model.relationships)):
            relationship = unloaded(context, held, field, name, node.lineno)
            if relationship is None or (held.made and not is_stored(context, name, field)):
                continue
            yield context.finding(
                "lazy-in-response",
                node,
                f"The response model {ast.unparse(schema)} reads {held.model.name}.{field}, which"
                " the query does not load: MissingGreenlet, or one statement for each row.",
                loading(held, relationship),
                load=(held, option_for(held, relationship)),
                table=held.model.table,
                more=(f"loaded on line {held.line}, relationship on line {relationship.line}",),
            )


def unloaded(
    context: Context, held: Held | None, attribute: str, variable: str, line: int
) -> Relationship | None:
    """The relationship if it is default-lazy and nothing in the function can have loaded it."""
    if held is None or held.shape != "one":
        return None
    relationship = held.model.relationships.get(attribute)
    if relationship is None or relationship.lazy != "select":
        return None
    if mentions(held.options, attribute) or joined_in(held.select, attribute):
        return None
    if set_or_loaded(context, attribute, variable, line):
        return None
    if relationship.many is not True and target_is_there(context, relationship, line):
        return None
    return relationship


def joined_in(select: Select | None, attribute: str) -> bool:
    """`contains_eager`, `from_statement`, or execution options may load it in other ways."""
    calls = select.calls if select else ()
    return any(
        method(call) in {"from_statement", "execution_options", "add_columns", "with_only_columns"}
        for call in calls
    )


def set_or_loaded(context: Context, attribute: str, variable: str, line: int) -> bool:
    """Assigned, refreshed or awaited before."""
    for node in context.nodes:
        if getattr(node, "lineno", line + 1) > line:
            continue
        if isinstance(node, ast.Attribute) and node.attr == attribute:
            awaited = "awaitable_attrs" in ast.unparse(node.value)
            if awaited or isinstance(node.ctx, ast.Store):
                return True
        if isinstance(node, ast.Call):
            name = method(node) or (node.func.id if isinstance(node.func, ast.Name) else "")
            known = name in {"refresh", "run_sync", "set_committed_value"}
            if known and variable in names_in(node):
                given = [*node.args[1:], *(k.value for k in node.keywords)]
                if name != "refresh" or any(attribute in ast.dump(part) for part in given):
                    return True
    return False


def target_is_there(context: Context, relationship: Relationship, line: int) -> bool:
    """The object at the other end may be in the session: then no statement is needed."""
    wanted = relationship.target.rpartition(".")[2]
    for node in context.calls:
        held = context.queries.held(node) if node.lineno <= line else None
        if held is not None and held.model.name == wanted:
            return True
    # `user: User = Depends(current_user)`: loaded, and perhaps by this very session.
    return any(
        isinstance(part, ast.Name) and part.id in {wanted, f"Current{wanted}", f"{wanted}Dep"}
        for annotation in annotations_of(context.function.node).values()
        for part in ast.walk(annotation)
    )


def is_stored(context: Context, name: str, field: str) -> bool:
    """A new object that is added and flushed, and whose relationship was not given."""
    variable = context.queries.variables.get(name)
    made = variable.values[0][1] if variable and variable.values else None
    if not isinstance(made, ast.Call) or made.args:
        return False
    if any(keyword.arg in {field, None} for keyword in made.keywords):
        return False
    base = context.project.sources.project.base
    if base is not None and base.kind == "dataclass":
        return False
    flushed = any(
        method(c) in {"commit", "flush"}
        and isinstance(c.func, ast.Attribute)
        and context.is_session(c.func.value)
        for c in context.calls
    )
    return flushed and any(
        method(c) == "add" and any(isinstance(a, ast.Name) and a.id == name for a in c.args)
        for c in context.calls
    )


def option_for(held: Held, relationship: Relationship) -> str:
    option = "joinedload" if relationship.many is False else "selectinload"
    return f"{option}({held.model.name}.{relationship.name})"


def loading(held: Held, relationship: Relationship) -> str:
    """The same query with the relationship loaded."""
    model = held.model.name
    text = option_for(held, relationship)
    if held.made:
        return f"await session.refresh(created, [{relationship.name!r}])"
    if held.select is None:
        return f"await session.get({model}, key, options=[{text}])"
    return f"select({model}).options({text})"


def expired_after_commit(context: Context) -> Iterator[QueryFinding]:
    """Reading an object after commit() where commit() expires all attributes."""
    for block in blocks(context):
        for number, statement in enumerate(block):
            session = committed(context, statement)
            if session:
                yield from read_afterwards(context, block[number + 1 :], session, statement)
                break


def blocks(context: Context) -> Iterator[list[ast.stmt]]:
    yield context.function.node.body
    for node in context.nodes:
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(node, ast.stmt) and isinstance(block, list) and block:
                yield block


def committed(context: Context, statement: ast.stmt) -> str:
    """The session that `await session.commit()` commits and expires; empty for others."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    call = value.value if isinstance(value, ast.Await) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return ""
    sessions, session = context.project.sessions, call.func.value
    if call.func.attr != "commit" or sessions.of(context.function, session) != "async":
        return ""
    expires = sessions.expires(context.function, session)
    return ast.unparse(session) if expires is True else ""


def read_afterwards(
    context: Context, rest: list[ast.stmt], session: str, commit: ast.stmt
) -> Iterator[QueryFinding]:
    """The first attribute of each object of that session that is read in `rest`."""
    fresh: set[str] = set()
    for statement in rest:
        for node in inner_nodes(statement):
            if isinstance(node, ast.Call) and method(node) in {"refresh", "rollback", "begin"}:
                fresh |= names_in(node)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                fresh.add(node.id)
        for node in inner_nodes(statement):
            name = expired(context, node, session, commit.lineno)
            if name and name not in fresh:
                fresh.add(name)
                assert isinstance(node, ast.expr | ast.stmt)
                yield context.finding(
                    "read-after-commit",
                    node,
                    f"{name} is read after commit(), which expired it (expire_on_commit is not"
                    " False): the read needs a statement and raises MissingGreenlet.",
                    "async_sessionmaker(engine, expire_on_commit=False)\n"
                    f"# or, for this object only:\nawait {session}.refresh({name})",
                    more=(f"committed on line {commit.lineno}",),
                )


def expired(context: Context, node: ast.AST, session: str, line: int) -> str:
    """The variable whose column is read here, or which is the response."""
    name = ""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        held = context.queries.held(node.value) if name else None
        if held is None or node.attr not in held.model.columns:
            return ""
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Name) and context.endpoint:
        name = node.value.id
        held = context.queries.held(node.value)
        if context.endpoint.answer is None:
            return ""
    else:
        return ""
    if held is None or held.shape != "one" or held.line > line:
        return ""
    if held.made:
        return name if is_added(context, name, session) else ""
    read_by = ast.unparse(held.session) if held.session is not None else ""
    return name if read_by == session else ""


def is_added(context: Context, name: str, session: str) -> bool:
    return any(
        method(node) == "add"
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == session
        and any(isinstance(argument, ast.Name) and argument.id == name for argument in node.args)
        for node in context.calls
    )
