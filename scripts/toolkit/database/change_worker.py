"""What one revision cannot do to a running service, taken out of what Alembic is about to write.

Loaded by path into the process that runs the project's code, like the guard. What stays in the
directives is harmless in one step. What is taken out is described as plain values: types as
Python source and as SQL, defaults as SQL, indexes and constraints with their columns.
"""

# ruff: noqa: ANN401  (Alembic's operations have no common type)

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import (
    _get_index_rendered_expressions,
    _render_dialect_kwargs_items,
    _repr_type,
    render_op_text,
)
from alembic.config import Config
from alembic.operations import ops
from alembic.script import ScriptDirectory
from sqlalchemy import CHAR, Column, DefaultClause, Enum, MetaData, Numeric, String, literal
from sqlalchemy.dialects.postgresql import named_types
from sqlalchemy.types import TypeDecorator

Report = dict[str, Any]
Place = tuple[str | None, str]
"""Schema and table."""
FK_OPTIONS = ("onupdate", "ondelete", "initially", "deferrable", "match")
SMALL = 63
"""Characters of up to four bytes, whose length MySQL keeps in one byte."""


def take_out(context: Any, metadatas: Sequence[MetaData], directives: Sequence[Any]) -> Report:
    """Take out of both directions; `operations` in their order, and the `imports` they need."""
    taker = Taker(AutogenContext(context, metadatas[0], autogenerate=False), metadatas)
    taken = []
    for directive in directives:
        pairs = zip(directive.upgrade_ops_list, directive.downgrade_ops_list, strict=True)
        for upgrade, downgrade in pairs:
            taken += taker.take(upgrade)
            upgrade.reverse_into(downgrade)
    return {"operations": taken, "imports": sorted(taker.imports)}


class Taker:
    """Describes with the project's own way to render types."""

    def __init__(self, autogen: AutogenContext, metadatas: Sequence[MetaData]) -> None:
        self.autogen = autogen
        self.dialect = autogen.migration_context.dialect
        self.kind = "mysql" if self.dialect.name == "mariadb" else self.dialect.name
        self.tables = {(t.schema, t.name): t for m in metadatas for t in m.tables.values()}
        self.imports: set[str] = set()
        autogen.imports = set()

    def take(self, container: Any) -> list[Report]:
        every = list(flat(container.ops))
        self.new = {place(one) for one in every if isinstance(one, ops.CreateTableOp)}
        self.gone = {place(one) for one in every if isinstance(one, ops.DropTableOp)}
        self.columns = {
            (*place(one), one.column_name)
            for one in every
            if type(one).__name__ == "RenameColumnOp"
        }
        renamed = [one for one in every if type(one).__name__ == "RenamedTableOp"]
        self.renamed = {place(one) for one in renamed}
        self.renamed |= {(one.schema, one.new_name) for one in renamed}
        taken: list[Report] = []
        container.ops[:] = self.without(container.ops, taken)
        self.imports |= set(self.autogen.imports or ())
        return taken

    def without(self, operations: Sequence[Any], taken: list[Report]) -> list[Any]:
        kept = []
        for one in operations:
            if isinstance(one, ops.ModifyTableOps):
                one.ops[:] = self.without(one.ops, taken)
                if not one.is_empty():
                    kept.append(one)
                continue
            described = self.describe(one)
            if described is None or described.pop("rest", False):
                kept.append(one)
            if described is not None:
                schema, table = place(one)
                taken.append({"schema": schema, "table": table, **described})
        return kept

    def describe(self, one: Any) -> Report | None:
        """None for what is harmless in one step. `rest`: so is what is left of it."""
        name = type(one).__name__.removesuffix("Op")
        if place(one) in self.gone:
            return {"op": "Late", **self.both_ways(one)}
        if place(one) in self.new:
            return None
        describer: Callable[[Any], Report | None] | None = getattr(self, f"of_{name}", None)
        described = describer(one) if describer else None
        return None if described is None else {"op": name, **described}

    def both_ways(self, one: Any) -> Report:
        up, down = (render_op_text(self.autogen, way) for way in (one, one.reverse()))
        return {"up": up, "down": down}

    def of_RenameColumn(self, one: Any) -> Report:
        return {"column": self.column(one.column), "new": one.new_name, "altered": one.altered}

    def of_RenamedTable(self, one: Any) -> Report:
        return {"new": one.new_name}

    def of_AddColumn(self, one: Any) -> Report | None:
        column = one.column
        if column.nullable or column.computed is not None or column.identity is not None:
            return None
        return {"column": self.column(self.model(one, column.name, column))}

    def of_DropColumn(self, one: Any) -> Report:
        return {"column": self.column(one.to_column())}

    def of_AlterColumn(self, one: Any) -> Report | None:
        default = one.existing_server_default
        default = DefaultClause(default.arg) if isinstance(default, DefaultClause) else None
        kind, nullable = one.existing_type, one.existing_nullable
        old = Column(
            one.column_name,
            kind,
            nullable=nullable is not False,
            server_default=default,
            comment=one.existing_comment,
        )
        retyped = one.modify_type is not None and self.is_rewrite(kind, one.modify_type)
        strict = one.modify_nullable is False
        if not retyped and not strict:
            return None
        new = self.model(one, one.column_name, old)
        described: Report = {"column": self.column(old), "new": self.column(new)}
        described |= {"retyped": retyped, "strict": strict}
        if retyped:
            one.modify_type = None
            if default is not None and new.server_default is not None:
                one.modify_server_default = False
        if strict:
            one.modify_nullable = None
        return {**described, "rest": one.has_changes()}

    def of_CreateIndex(self, one: Any) -> Report | None:
        described = self.index(one.to_index())
        simple = not described["options"] and None not in described["columns"]
        return described if simple or self.kind == "postgresql" else None

    def of_DropIndex(self, one: Any) -> Report | None:
        described = self.index(one.to_index())
        moved = {(*place(one), name) for name in described["columns"]} & self.columns
        if not moved and place(one) not in self.renamed:
            return None
        return {**described, **self.both_ways(one)}

    def of_CreateUniqueConstraint(self, one: Any) -> Report:
        return {**self.unique(one), "options": sorted(k for k, v in one.kw.items() if v)}

    def of_CreateForeignKey(self, one: Any) -> Report:
        return self.foreign_key(one)

    def of_CreateCheckConstraint(self, one: Any) -> Report:
        condition = one.condition
        if not isinstance(condition, str):
            how = {"literal_binds": True}
            compiled = condition.compile(dialect=self.dialect, compile_kwargs=how)
            condition = self.plain(str(compiled))
        return {"name": named(one.constraint_name), "condition": condition}

    def of_DropConstraint(self, one: Any) -> Report | None:
        """Only where the constraint is a part of another change."""
        with contextlib.suppress(ValueError):  # reflected without what it was
            made = one.reverse()
            if isinstance(made, ops.CreateForeignKeyOp):
                described = {"constraint": "foreign_key", **self.foreign_key(made)}
                moved = (made.kw.get("referent_schema"), made.referent_table) in self.renamed
            elif isinstance(made, ops.CreateUniqueConstraintOp):
                described, moved = {"constraint": "unique", **self.unique(made)}, False
            else:
                return None
            touched = {(*place(one), name) for name in described["columns"]} & self.columns
            if moved or touched:
                return {**described, **self.both_ways(one)}
        return None

    def model(self, one: Any, name: str, otherwise: Any) -> Any:
        """The column of the models: it has the defaults that are Python, too."""
        table = self.tables.get(place(one))
        return table.c.get(name, otherwise) if table is not None else otherwise

    def column(self, column: Any) -> Report:
        kind = self.bare(column.type)
        described = {
            "name": str(column.name),
            "source": self.source(kind),
            "sql": self.sql(kind, column),
            "nullable": bool(column.nullable),
            "default": self.default(column),
            "value": self.value(column),
            "comment": column.comment,
        }
        if self.kind == "postgresql" and isinstance(kind, Enum) and kind.native_enum:
            own = self.dialect.type_descriptor(kind)
            described["type"] = str(kind.name)
            described["create_type"] = self.ddl(named_types.CreateEnumType(own))
            described["drop_type"] = self.ddl(named_types.DropEnumType(own))
        return described

    def bare(self, kind: Any) -> Any:
        """What the database sees: a revision must not need the application."""
        while isinstance(kind, TypeDecorator):
            kind = kind.load_dialect_impl(self.dialect)
        return kind

    def source(self, kind: Any) -> str:
        if not type(kind).__module__.startswith("sqlalchemy."):
            self.imports.add(f"import {type(kind).__module__}")
        return str(_repr_type(kind, self.autogen))

    def sql(self, kind: Any, column: Any = None) -> str:
        compiler = self.dialect.type_compiler_instance
        return self.plain(compiler.process(kind, type_expression=column))

    def ddl(self, element: Any) -> str:
        return self.plain(str(element.compile(dialect=self.dialect)))

    def default(self, column: Any) -> str | None:
        compiler = self.dialect.ddl_compiler(self.dialect, None)  # type: ignore[arg-type]
        text = compiler.get_column_default_string(column)
        return None if text is None else self.plain(str(text))

    def value(self, column: Any) -> str | None:
        """The Python default as SQL, if it is a value and no call."""
        default = column.default
        if default is None or not default.is_scalar:
            return None
        with contextlib.suppress(Exception):  # what has no literal is asked for
            made = literal(default.arg, column.type)
            how = {"literal_binds": True}
            return self.plain(str(made.compile(dialect=self.dialect, compile_kwargs=how)))
        return None

    def plain(self, sql: str) -> str:
        """Compilers double a percent sign for some drivers."""
        return sql.replace("%%", "%") if "format" in self.dialect.paramstyle else sql

    def is_rewrite(self, old: Any, new: Any) -> bool:
        """Does the new type need more than a note in the catalog?"""
        old, new = self.bare(old), self.bare(new)
        if isinstance(old, Enum) and isinstance(new, Enum):
            return bool(old.name != new.name or self.kind == "mysql")
        if self.sql(old) == self.sql(new):
            return False
        texts = [isinstance(k, String) and not isinstance(k, (CHAR, Enum)) for k in (old, new)]
        if all(texts) and self.kind == "postgresql":
            return bool(new.length is not None and (old.length or new.length + 1) > new.length)
        if all(texts) and self.kind == "mysql" and old.length and new.length:
            return bool(old.length > new.length or old.length <= SMALL < new.length)
        if isinstance(old, Numeric) and isinstance(new, Numeric) and self.kind == "postgresql":
            same = old.scale == new.scale and self.sql(old)[:3] == self.sql(new)[:3] == "NUM"
            return not (same and (new.precision or 0) >= (old.precision or 2000))
        return True

    def index(self, index: Any) -> Report:
        keys = _get_index_rendered_expressions(index, self.autogen)
        named = [isinstance(expression, Column) for expression in index.expressions]
        columns = [
            str(expression.name) if is_column else None
            for expression, is_column in zip(index.expressions, named, strict=True)
        ]
        options = _render_dialect_kwargs_items(self.autogen, index.dialect_kwargs)
        return {
            "name": str(index.name),
            "columns": columns,
            "keys": keys,
            "options": [one for one in options if "concurrently" not in one],
            "unique": bool(index.unique),
        }

    def unique(self, one: Any) -> Report:
        return {"name": named(one.constraint_name), "columns": [str(name) for name in one.columns]}

    def foreign_key(self, one: Any) -> Report:
        return {
            "name": named(one.constraint_name),
            "columns": list(one.local_cols),
            "refers_to": one.referent_table,
            "refers_to_columns": list(one.remote_cols),
            "refers_to_schema": one.kw.get("referent_schema"),
            "options": {key: one.kw[key] for key in FK_OPTIONS if one.kw.get(key) is not None},
        }


def flat(operations: Sequence[Any]) -> Iterator[Any]:
    for one in operations:
        if isinstance(one, ops.ModifyTableOps):
            yield from flat(one.ops)
        else:
            yield one


def place(one: Any) -> Place:
    table = getattr(one, "table_name", None) or getattr(one, "source_table", "")
    schema = getattr(one, "schema", None)
    if schema is None and isinstance(one, ops.CreateForeignKeyOp):
        schema = one.kw.get("source_schema")
    return schema, str(table)


def named(name: Any) -> str | None:
    return str(name) if isinstance(name, str) else None


def paths(config: Config, request: Report, report: Report, _guard: ModuleType) -> None:
    """Where Alembic would put revisions: their names below a folder, by the file_template."""
    script = ScriptDirectory.from_config(config)
    date = script._generate_create_date()
    message = request["message"]
    report["paths"] = [str(script._rev_path(Path(), one, message, date)) for one in request["ids"]]


ACTIONS: Mapping[str, Callable[[Config, Report, Report, ModuleType], None]] = {"paths": paths}
