"""An application's type as what it is in SQL: a revision outlives the modules of its project.

Loaded by path into the process that runs the project's code, like the guard. Alembic writes such a
type by its class, which a revision would import for as long as it is kept. Here it is compiled for
each database of the project, and written as SQLAlchemy's class that gives the same (#13).
"""

# ruff: noqa: ANN401  (Alembic's operations have no common type)

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from functools import wraps
from importlib import import_module
from typing import Any

from alembic.autogenerate.render import _repr_type
from sqlalchemy import Dialect, make_url
from sqlalchemy.types import SchemaType, TypeDecorator, TypeEngine
from sqlalchemy.util import EMPTY_DICT

Renderer = Callable[[str, Any, Any], Any]
ALL = ("sqlite", "postgresql", "mysql", "mariadb")
"""A type is written as the first has it, with variants: SQLite's names are the general ones."""


def install(names: Sequence[str], context: Any) -> None:
    """From here on types are written for these databases."""
    project: Renderer | None = context.opts.get("render_item")
    # The env.py of this skill leaves it to Alembic, or did what is done here.
    ours = "DIALECTS" in getattr(project, "__globals__", {})
    names = sorted(names or ALL, key=ALL.index)

    @wraps(project or install)
    def render_item(kind: str, item: Any, autogen: Any) -> Any:
        if project and not ours and (written := project(kind, item, autogen)) is not False:
            return written
        return in_words(item, autogen, names) if kind == "type" else False

    context.opts["render_item"] = render_item


def in_words(item: Any, autogen: Any, names: Sequence[str]) -> str | bool:
    """False for what Alembic writes right."""
    own = [type(part) for part in (item, *item._variant_mapping.values())]
    own = [part for part in own if not part.__module__.startswith("sqlalchemy.")]
    if not own and "=Text(" in repr(item) and type(item).__module__.endswith("postgresql.json"):
        # Alembic writes it right on PostgreSQL only, and this may be SQLite.
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return f"postgresql.{item!r}".replace("=Text(", "=sa.Text(")
    base: TypeEngine[Any] | None = None
    variants: dict[str, list[str]] = {}
    for dialect in (make_url(f"{name}://").get_dialect()() for name in names if own):
        stored = item._variant_mapping.get(dialect.name, item)
        while isinstance(stored, TypeDecorator):
            stored = stored.type_engine(dialect)
            stored = stored._variant_mapping.get(dialect.name, stored)
        stored = copy(stored)
        stored._variant_mapping = EMPTY_DICT  # those of other databases
        found = public(stored, dialect)
        if found is None:  # none of SQLAlchemy's: as Alembic writes it, with its import
            autogen.imports.add(f"import {own[0].__module__}")
            call = repr(item).removeprefix(own[0].__name__)
            return f"{own[0].__module__}.{own[0].__qualname__}{call}"
        base = base or found
        if in_sql(base, dialect) != in_sql(found, dialect):
            variants.setdefault(str(_repr_type(found, autogen)), []).append(repr(dialect.name))
    if base is None:
        return False
    written = (f".with_variant({one}, {', '.join(names)})" for one, names in variants.items())
    return str(_repr_type(base, autogen)) + "".join(written)


def public(given: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any] | None:
    """The same in SQL, of the most general class that a revision finds in SQLAlchemy."""
    for kind in reversed(type(given).__mro__):
        place = re.match(r"sqlalchemy(\.dialects\.\w+)?", kind.__module__)
        known = place and getattr(import_module(place[0]), kind.__name__, None) is kind
        # An enum is more than its text; a general class may not take the arguments.
        if known and (issubclass(kind, SchemaType) or not isinstance(given, SchemaType)):
            with suppress(Exception):
                found: TypeEngine[Any] = given if type(given) is kind else given.adapt(kind)
                if in_sql(found, dialect) == in_sql(given, dialect):
                    return found
    return None


def in_sql(given: TypeEngine[Any], dialect: Dialect) -> str:
    with suppress(Exception):  # an array on SQLite
        return given.compile(dialect=dialect)
    return ""
