"""One revision that is right on every database of a project (#13).

Loaded by path into the process that runs the project's code, like the guard. Alembic writes an
expression as the database at hand has it (`strftime(...)` on SQLite, `now()` on PostgreSQL), and
what it reflected in the types of that one. Here an expression that differs becomes a choice by
`op.get_context().dialect.name`, and a reflected type the general one with a variant.
"""

# ruff: noqa: ANN401  (Alembic's operations have no common type)

import re
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

from alembic.autogenerate import render, renderers
from alembic.ddl.impl import _impls as implementations
from alembic.operations import ops
from sqlalchemy import Boolean, Column, DefaultClause, false, func, make_url, true
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.types import SchemaType, TypeEngine
from sqlalchemy.util import immutabledict

DIALECT = "op.get_context().dialect"
CHOICE = f"{DIALECT}.name"
RENDER_COLUMN = render._render_column
NOW = {"now", "current_timestamp"}
MYSQL = ("mysql", "mariadb")


def dialect(name: str) -> Any:
    return make_url(f"{name}://").get_dialect()()


class Expressions:
    """Takes the place of the one function by which Alembic writes every expression."""

    def __init__(self, names: Sequence[str]) -> None:
        self.original = render._render_potential_expr
        self.writers = {
            name: implementations[name](dialect(name), None, False, None, None, {})
            for name in names
        }

    def __call__(
        self,
        value: Any,
        autogen: Any,
        *,
        wrap_in_element: bool = True,
        is_server_default: bool = False,
        is_index: bool = False,
    ) -> str:
        def as_alembic() -> str:
            return self.original(
                value,
                autogen,
                wrap_in_element=wrap_in_element,
                is_server_default=is_server_default,
                is_index=is_index,
            )

        prefix = autogen.opts["sqlalchemy_module_prefix"] or ""
        if isinstance(value, Only):
            return value.written(prefix, [*self.writers])
        if not isinstance(value, ClauseElement) or isinstance(value, Column | TextClause):
            return as_alembic()
        options = {"is_server_default": is_server_default, "is_index": is_index}
        texts = {}
        for name, writer in self.writers.items():
            try:
                texts[name] = writer.render_ddl_sql_expr(value, **options)
            except SQLAlchemyError:  # not on that one: its proof tells
                return as_alembic()
        if len(set(texts.values())) == 1:
            return as_alembic()
        choice = f"{texts!r}[{CHOICE}]"
        if not wrap_in_element:
            return choice
        element = "literal_column" if is_index else "text"
        return f"{prefix}{element}({choice})"


def keyword_items(autogen: Any, arguments: Any) -> list[str]:
    """`postgresql_where=...` is written as PostgreSQL has it, wherever that is done."""
    found = []
    for key, value in arguments.items():
        text = render._render_potential_expr(value, autogen)
        if isinstance(value, ClauseElement) and not isinstance(value, Column | TextClause):
            name = key.partition("_")[0]
            if name in implementations:
                writer = implementations[name](dialect(name), None, False, None, None, {})
                prefix = autogen.opts["sqlalchemy_module_prefix"] or ""
                text = f"{prefix}text({writer.render_ddl_sql_expr(value)!r})"
        found.append(f"{key}={text}")
    return found


def install(names: Sequence[str], context: Any, directives: Sequence[Any]) -> None:
    """From here on revisions are written for these, and for no other."""
    context.opts["render_item"] = without_other_variants(names, context.opts.get("render_item"))
    if "mysql" in names:
        render._render_column = generated_column  # type: ignore[assignment]
    if set(names) <= set(MYSQL) or len(names) < 2:
        return
    own = context.dialect.name
    if "sqlite" in names and own != "sqlite":
        # What dispatch_for does with `replace`, which Alembic has since 1.17.2.
        renderers._registry[ops.ModifyTableOps, "default"] = in_batch_for_sqlite
    render._render_potential_expr = Expressions(names)  # type: ignore[assignment]
    render._render_dialect_kwargs_items = keyword_items  # type: ignore[assignment]
    for directive in directives:
        for container in directive.upgrade_ops_list:
            for one in flat(container.ops):
                existing(one, context, own)
        for container in directive.downgrade_ops_list:
            for one in flat(container.ops):
                restored(one, own)


def without_other_variants(names: Sequence[str], project: Any) -> Any:
    """A library's type has variants for databases that this project does not use."""

    def render_item(kind: str, item: Any, autogen: Any) -> Any:
        variants = getattr(item, "_variant_mapping", {}) if kind == "type" else {}
        if set(variants) <= set(names):
            return project(kind, item, autogen) if project else False
        item = copy(item)
        kept = {name: one for name, one in variants.items() if name in names}
        item._variant_mapping = immutabledict(kept)
        return render._repr_type(item, autogen)

    return render_item


def in_batch_for_sqlite(autogen: Any, one: ops.ModifyTableOps) -> list[str]:
    """Only what SQLite needs it for: elsewhere a batch is the same statements, less plainly."""
    alone = ops.CreateIndexOp | ops.DropIndexOp | ops.CreateTableCommentOp | ops.DropTableCommentOp
    autogen.opts["render_as_batch"] = not all(
        isinstance(part, alone) or (isinstance(part, ops.AddColumnOp) and is_bare(part.column))
        for part in one.ops
    )
    return render._render_modify_table(autogen, one)


def generated_column(column: Column[Any], autogen: Any) -> str:
    """MariaDB takes no NOT NULL for one, which SQLAlchemy knows and a revision repeats."""
    text = RENDER_COLUMN(column, autogen)
    given = getattr(column, "_user_defined_nullable", None)
    if column.computed is None or given in (True, False):
        return text
    return text.replace("nullable=False", f"nullable=getattr({DIALECT}, 'is_mariadb', False)")


def is_bare(column: Column[Any]) -> bool:
    """Can SQLite add it to a table without a copy?"""
    bound = column.foreign_keys or column.unique or column.constraints or column.primary_key
    return bool(column.nullable) and not bound and column.server_default is None


def flat(operations: Sequence[Any]) -> Iterator[Any]:
    for one in operations:
        if isinstance(one, ops.ModifyTableOps):
            yield from flat(one.ops)
        else:
            yield one


def existing(one: Any, context: Any, own: str) -> None:
    """What an altered column keeps is told in the models' words: MySQL repeats it."""
    if not isinstance(one, ops.AlterColumnOp):
        return
    column = in_models(one, context)
    if one.existing_type is not None:
        told = one.modify_type is None and column is not None
        one.existing_type = column.type if told else general(one.existing_type, own)
    if one.modify_server_default is False and column is not None:
        one.existing_server_default = column.server_default
    elif one.existing_server_default:
        kind = column.type if column is not None else None
        one.existing_server_default = anywhere(one.existing_server_default, kind, own)


def restored(one: Any, own: str) -> None:
    """What a way back makes again was reflected."""
    columns: list[Any] = []
    if isinstance(one, ops.CreateTableOp):
        columns = [part for part in one.columns if isinstance(part, Column)]
    elif isinstance(one, ops.AddColumnOp):
        columns = [one.column]
    elif isinstance(one, ops.AlterColumnOp):
        if one.modify_type is not None:
            one.modify_type = general(one.modify_type, own)
        for name in ("modify_server_default", "existing_server_default"):
            if getattr(one, name):
                kind = one.modify_type or one.existing_type
                setattr(one, name, anywhere(getattr(one, name), kind, own))
    for column in columns:
        column.type = general(column.type, own)
        if isinstance(column.server_default, DefaultClause):
            column.server_default = anywhere(column.server_default, column.type, own)


def in_models(one: Any, context: Any) -> Any:
    target = context.opts["target_metadata"]
    for metadata in target if isinstance(target, (list, tuple)) else [target]:
        key = f"{one.schema}.{one.table_name}" if one.schema else one.table_name
        if key in metadata.tables:
            return metadata.tables[key].columns.get(one.column_name)
    return None


def general(kind: TypeEngine[Any], own: str) -> TypeEngine[Any]:
    """A reflected type as other databases have it; on its own exactly that."""
    # A class in capitals is SQL's name for it: DATETIME is none of PostgreSQL's.
    reflected = type(kind).__name__.isupper() or ".dialects." in type(kind).__module__
    if not reflected or isinstance(kind, SchemaType) or kind._variant_mapping:
        return kind
    try:
        found: TypeEngine[Any] = kind.as_generic()
    except NotImplementedError:
        return kind
    if getattr(kind, "display_width", None) == 1:  # a truth value of MySQL's
        found = Boolean()
    here = dialect(own)
    if found.compile(dialect=here) == kind.compile(dialect=here):
        return found
    return found.with_variant(kind, *((own,) if own not in MYSQL else MYSQL))


class Only(TextClause):
    """A reflected text of one database; the others get `instead`, or no default."""

    def __init__(self, text: str, own: str, instead: str | None) -> None:
        super().__init__(text)
        self.own, self.instead = own, instead

    def written(self, prefix: str, names: Sequence[str]) -> str:
        mine = MYSQL if self.own in MYSQL else (self.own,)
        texts = {name: self.text if name in mine else self.instead for name in names}
        told = ", ".join(f"{key!r}: {prefix}text({text!r})" for key, text in texts.items() if text)
        return f"{{{told}}}.get({CHOICE})"


def anywhere(default: Any, kind: TypeEngine[Any] | None, own: str) -> Any:
    """A reflected default for all databases, as far as it can be told."""
    text = str(getattr(getattr(default, "arg", None), "text", "")).strip()
    bare = text.strip("()").lower()
    if not text or (re.fullmatch(r"-?[\d.]+", bare) and not isinstance(kind, Boolean)):
        return default
    if isinstance(kind, Boolean) and bare in ("0", "1", "true", "false"):
        return DefaultClause(true() if bare in ("1", "true") else false())
    if found := re.fullmatch(r"'((?:[^']|'')*)'(?:::[\w\s.\"()]+)?", text):
        return DefaultClause(found[1].replace("''", "'"))
    if bare in NOW:
        return DefaultClause(func.now())
    now = re.search(r"\bnow\b|current_timestamp|utc_timestamp", bare)
    return DefaultClause(Only(text, own, "(CURRENT_TIMESTAMP)" if now else None))
