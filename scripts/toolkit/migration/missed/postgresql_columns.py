"""Operations that turn one PostgreSQL column into another."""

from toolkit.database.catalog import Entry
from toolkit.migration.missed.postgresql_text import base_type, options, qualified, quote, string
from toolkit.migration.missed.source import call, execute, expression, literal, schema_of


def table_of(entry: Entry) -> str:
    """The qualified name of the table that an object is on."""
    return qualified({"schema": entry["schema"], "name": entry["table"]})


def alter(
    before: Entry, after: Entry, attributes: set[str], default_schema: str | None
) -> list[str]:
    lines: list[str] = []
    head = f"ALTER TABLE {table_of(after)} ALTER COLUMN {quote(after['name'])}"

    def alter_column(**keywords: str | None) -> list[str]:
        places = [literal(after["table"]), literal(after["name"])]
        schema = schema_of(after, default_schema)
        return call("alter_column", places, {**keywords, "schema": schema})

    retyped = bool(attributes & {"type", "collation"})
    converted = retyped and base_type(before["type"]) != base_type(after["type"])
    if converted and before["default"]:
        lines += execute(f"{head} DROP DEFAULT")
    if retyped:
        collation = f" COLLATE {after['collation']}" if after["collation"] else ""
        using = f" USING {quote(after['name'])}::{after['type']}" if converted else ""
        lines += execute(f"{head} TYPE {after['type']}{collation}{using}")
    if attributes & {"identity", "serial"}:
        lines += numbers(before, after, head)
    elif "default" in attributes or (converted and after["default"]):
        default = after["default"]
        lines += alter_column(server_default=expression(default) if default else "None")
    if "nullable" in attributes:
        lines += alter_column(nullable=literal(after["nullable"]))
    if "comment" in attributes:
        lines += alter_column(
            comment=literal(after["comment"]), existing_comment=literal(before["comment"])
        )
    return lines


def numbers(before: Entry, after: Entry, head: str) -> list[str]:
    """Another source of the column's numbers, which goes on behind the highest one."""
    if before["identity"] and after["identity"]:
        word = f" SET GENERATED {after['identity']['generated']}"
        changed = options(after["identity"], before["identity"])
        for phrase in ("INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "CYCLE", "NO CYCLE"):
            changed = changed.replace(f" {phrase}", f" SET {phrase}")
        # The type of the sequence follows the column's.
        return execute(head + word + changed.partition(" AS ")[0])
    if before["serial"] and after["serial"]:
        name = after["parts"]["sequence"]
        return execute(f"ALTER SEQUENCE {name}{options(after['serial'], before['serial'])}")
    lines: list[str] = []
    if before["default"] or before["serial"]:
        lines += execute(f"{head} DROP DEFAULT")
    if before["serial"]:
        lines += execute(f"DROP SEQUENCE {before['parts']['sequence']}")
    if before["identity"]:
        lines += execute(f"{head} DROP IDENTITY")
    if after["identity"]:
        kind = after["identity"]["generated"]
        text = options({**after["identity"], "type": "bigint"}, usual_of(after["identity"]))
        text = f" ({text.strip()})" if text.strip() else ""
        lines += execute(f"{head} ADD GENERATED {kind} AS IDENTITY{text}")
    if after["serial"]:
        name = after["parts"]["sequence"]
        owner = f"{table_of(after)}.{quote(after['name'])}"
        lines += execute(f"CREATE SEQUENCE {name}{options(after['serial'])} OWNED BY {owner}")
        lines += execute(f"{head} SET DEFAULT nextval({string(name)})")
    elif after["default"]:
        lines += execute(f"{head} SET DEFAULT {after['default']}")
    if after["identity"] or after["serial"]:
        table, column = table_of(after), quote(after["name"])
        highest = f"coalesce(max({column}), 0) + 1, false) FROM {table}"
        owner = f"{string(table)}, {string(after['name'])}"
        lines += execute(f"SELECT setval(pg_get_serial_sequence({owner}), {highest}")
    return lines


def usual_of(identity: Entry) -> Entry:
    """What an identity column's sequence has if nothing is said."""
    largest = {"smallint": 2**15 - 1, "integer": 2**31 - 1}.get(identity["type"], 2**63 - 1)
    usual = {"start": 1, "increment": 1, "minimum": 1, "cache": 1, "cycle": False}
    return {**usual, "type": "bigint", "maximum": largest}


def replace(after: Entry) -> list[str]:
    """Drop a generated column and make it anew: before PostgreSQL 17 nothing else does."""
    table, column = table_of(after), quote(after["name"])
    text = f"ALTER TABLE {table} ADD COLUMN {column} {after['type']}"
    if after["collation"]:
        text += f" COLLATE {after['collation']}"
    kind = "STORED" if after["generated"]["stored"] else "VIRTUAL"
    text += f" GENERATED ALWAYS AS ({after['generated']['expression']}) {kind}"
    if not after["nullable"]:
        text += " NOT NULL"
    lines = execute(f"ALTER TABLE {table} DROP COLUMN {column}") + execute(text)
    if after["comment"]:
        lines += execute(f"COMMENT ON COLUMN {table}.{column} IS {string(after['comment'])}")
    return lines


def no_longer_generated(after: Entry) -> list[str]:
    """It keeps the values that it has."""
    place = f"ALTER TABLE {table_of(after)} ALTER COLUMN {quote(after['name'])}"
    return execute(f"{place} DROP EXPRESSION")
