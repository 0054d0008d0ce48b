"""Operations for constraints that are alike on all databases."""

from toolkit.database.catalog import Entry
from toolkit.migration.missed.source import call, literal, name, schema_of, sql

DROP_TYPES = {
    "check": "check",
    "unique": "unique",
    "foreign_key": "foreignkey",
    "primary_key": "primary",
    "exclusion": None,
}


def real_name(entry: Entry) -> str | None:
    """A primary key goes by its table's name in a catalog."""
    found = entry["name"] or entry["parts"].get("name")
    return None if found is None else str(found)


def table_of(entry: Entry, on: str) -> list[str]:
    """Inside of batch_alter_table the table is known."""
    return [] if on == "batch_op" else [literal(entry["table"])]


def drop_constraint(
    kind: str, entry: Entry, default_schema: str | None, on: str = "op"
) -> list[str]:
    kept = DROP_TYPES[kind]
    return call(
        "drop_constraint",
        [name(real_name(entry), on), *table_of(entry, on)],
        {
            "schema": schema_of(entry, default_schema),
            "type_": literal(kept) if kept else None,
        },
        on,
    )


def create_check(
    entry: Entry, condition: str, default_schema: str | None, on: str = "op"
) -> list[str]:
    return call(
        "create_check_constraint",
        [name(real_name(entry), on), *table_of(entry, on), sql(condition)],
        {
            "schema": schema_of(entry, default_schema),
            "postgresql_not_valid": None if entry.get("validated", True) else "True",
        },
        on,
    )


def create_unique(
    entry: Entry, default_schema: str | None, on: str = "op", **more: str | None
) -> list[str]:
    arguments = [name(real_name(entry), on), *table_of(entry, on)]
    return call(
        "create_unique_constraint",
        [*arguments, literal(entry["parts"]["columns"])],
        {"schema": schema_of(entry, default_schema), **more},
        on,
    )


def create_foreign_key(
    entry: Entry, default_schema: str | None, on: str = "op", **more: str | None
) -> list[str]:
    parts = entry["parts"]
    referred = {"schema": parts.get("referred_schema")}
    batch = on == "batch_op"
    return call(
        "create_foreign_key",
        [
            name(real_name(entry), on),
            *table_of(entry, on),
            literal(parts["referred_table"]),
            literal(parts["columns"]),
            literal(parts["referred_columns"]),
        ],
        {
            "source_schema": None if batch else schema_of(entry, default_schema),
            "referent_schema": schema_of(referred, default_schema),
            "onupdate": literal(parts["on_update"]) if parts.get("on_update") else None,
            "ondelete": literal(parts["on_delete"]) if parts.get("on_delete") else None,
            **more,
        },
        on,
    )
