"""The catalog of a MySQL or MariaDB database: of this one, since others are not ours."""

import re
from typing import Any

from sqlalchemy import Connection

from .model import Catalog, Entry, put, without_version_table

TABLES = """
SELECT table_name AS name, table_type AS kind, engine, table_collation AS collation,
       create_options AS options, table_comment AS comment
FROM information_schema.tables WHERE table_schema = DATABASE()
"""
COLUMNS = """
SELECT table_name AS tab, column_name AS name, ordinal_position AS place, column_type AS type,
       is_nullable AS nullable, column_default AS dflt, extra, collation_name AS collation,
       column_comment AS comment, generation_expression AS generated
FROM information_schema.columns WHERE table_schema = DATABASE()
"""
KEYS = """
SELECT s.* FROM information_schema.statistics s WHERE s.table_schema = DATABASE()
ORDER BY s.table_name, s.index_name, s.seq_in_index
"""
FOREIGN_KEYS = """
SELECT k.table_name AS tab, k.constraint_name AS name, k.column_name AS col,
       k.referenced_table_schema = DATABASE() AS here, k.referenced_table_schema AS other,
       k.referenced_table_name AS referred, k.referenced_column_name AS referred_column,
       r.update_rule AS on_update, r.delete_rule AS on_delete
FROM information_schema.key_column_usage k
JOIN information_schema.referential_constraints r
  ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
 AND r.table_name = k.table_name
WHERE k.table_schema = DATABASE() AND k.referenced_table_name IS NOT NULL
ORDER BY k.table_name, k.constraint_name, k.ordinal_position
"""
# MariaDB names are unique in a table, and its view has the table; MySQL's is joined to it.
CHECKS = {
    True: """
SELECT table_name AS tab, constraint_name AS name, check_clause AS clause, 'YES' AS enforced
FROM information_schema.check_constraints WHERE constraint_schema = DATABASE()
""",
    False: """
SELECT t.table_name AS tab, t.constraint_name AS name, c.check_clause AS clause, t.enforced
FROM information_schema.table_constraints t
JOIN information_schema.check_constraints c
  ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name
WHERE t.table_schema = DATABASE() AND t.constraint_type = 'CHECK'
""",
}
OTHERS = """
SELECT 'view' AS kind, NULL AS tab, table_name AS name, view_definition AS definition
FROM information_schema.views WHERE table_schema = DATABASE()
UNION ALL
SELECT 'trigger', event_object_table, trigger_name,
       CONCAT_WS(' ', action_timing, event_manipulation, action_statement)
FROM information_schema.triggers WHERE trigger_schema = DATABASE()
UNION ALL
SELECT LOWER(routine_type), NULL, routine_name, CONCAT_WS(' ', dtd_identifier, routine_definition)
FROM information_schema.routines WHERE routine_schema = DATABASE()
"""
PARTITIONS = """
SELECT table_name AS tab, partition_name AS name, partition_method AS method,
       partition_expression AS expression, partition_description AS description
FROM information_schema.partitions
WHERE table_schema = DATABASE() AND partition_name IS NOT NULL
ORDER BY table_name, partition_ordinal_position
"""


def read(connection: Connection) -> Catalog:
    server = rows(
        connection,
        "SELECT DATABASE() AS base, @@default_storage_engine AS engine,"
        " @@collation_database AS collation, VERSION() AS version",
    )[0]
    base = str(server["base"])
    maria = bool(getattr(connection.dialect, "is_mariadb", False))
    catalog: Catalog = {"table": {}, "database": {"": database(connection, server, maria)}}
    for row in rows(connection, TABLES):
        if row["kind"] in {"BASE TABLE", "SEQUENCE"}:
            put(catalog, row["kind"].split()[-1].lower(), table(row))
    for row in rows(connection, COLUMNS):
        if row["tab"] in catalog["table"]:
            put(catalog, "column", column(row, maria))
    foreign = add_foreign_keys(catalog, rows(connection, FOREIGN_KEYS))
    add_keys(catalog, rows(connection, KEYS), foreign)
    for row in rows(connection, CHECKS[maria]):
        put(catalog, "check", check(row))
    for row in rows(connection, OTHERS):
        entry = named(row["tab"], row["name"])
        text = str(row["definition"]).replace(f"`{base}`.", "")
        put(catalog, row["kind"], {**entry, "definition": text})
    for row in rows(connection, PARTITIONS):
        owner = catalog["table"][row["tab"]]
        owner.setdefault("partitions", []).append(
            [row["name"], row["method"], row["expression"], row["description"]]
        )
    return without_version_table(catalog)


def rows(connection: Connection, statement: str) -> list[dict[str, Any]]:
    """By lower-case name: MySQL shows its views' columns in capitals, MariaDB does not."""
    found = connection.exec_driver_sql(statement)
    names = [name.lower() for name in tuple(found.keys())]
    return [dict(zip(names, map(plain, row), strict=True)) for row in found]


def plain(value: Any) -> Any:  # noqa: ANN401  (whatever a driver gives)
    return value.decode() if isinstance(value, bytes) else value


def database(connection: Connection, server: dict[str, Any], maria: bool) -> Entry:
    numbers = [int(part) for part in re.findall(r"\d+", str(server["version"]))[:3]]
    return {
        "dialect": "mysql",
        "mariadb": maria,
        "version": numbers,
        "default_schema": None,
        "engine": server["engine"],
        "collation": server["collation"],
    }


def named(table: str | None, name: str | None) -> Entry:
    return {"schema": None, **({"table": table} if table else {}), "name": name}


def table(row: dict[str, Any]) -> Entry:
    options = " ".join(sorted(str(row["options"] or "").lower().split()))
    return {
        **named(None, row["name"]),
        "engine": row["engine"],
        "collation": row["collation"],
        # Whether it has partitions is said by them.
        "options": options.replace("partitioned", "").strip(),
        "comment": row["comment"] or None,
    }


def column(row: dict[str, Any], maria: bool) -> Entry:
    extra = str(row["extra"] or "").lower().replace("default_generated", "").strip()
    generated = None
    if row["generated"]:
        generated = {
            "expression": str(row["generated"]),
            "stored": "stored" in extra or "persistent" in extra,
        }
        extra = re.sub(r"(stored|virtual|persistent) generated", "", extra).strip()
    default = row["dflt"]
    if default is not None:
        default = str(default)
        if maria:
            # MariaDB gives an expression, and the word NULL where there is none.
            default = None if default == "NULL" else default
        elif "default_generated" not in str(row["extra"]).lower():
            default = "'" + default.replace("\\", "\\\\").replace("'", "''") + "'"
        elif not default.upper().startswith("CURRENT_TIMESTAMP"):
            default = f"({default})"
    return {
        **named(row["tab"], row["name"]),
        "order": int(row["place"]),
        "type": row["type"],
        "nullable": row["nullable"] == "YES",
        "default": default,
        "generated": generated,
        "extra": extra,
        "collation": row["collation"],
        "comment": row["comment"] or None,
    }


def add_foreign_keys(catalog: Catalog, found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Add them; the places (table, name) where MySQL may have made an index for one."""
    implicit = set()
    for row in found:
        key = f"{row['tab']}.{row['name']}"
        entry = catalog.setdefault("foreign_key", {}).get(key)
        if entry is None:
            entry = named(row["tab"], row["name"])
            entry["auto_named"] = bool(re.fullmatch(r".*_ibfk_\d+|\d+", row["name"]))
            entry["definition"] = ""
            entry["parts"] = {
                "columns": [],
                "referred_schema": None if row["here"] else row["other"],
                "referred_table": row["referred"],
                "referred_columns": [],
                # RESTRICT and NO ACTION are one thing here.
                "on_update": action(row["on_update"]),
                "on_delete": action(row["on_delete"]),
            }
            put(catalog, "foreign_key", entry)
            implicit |= {(row["tab"], row["name"]), (row["tab"], row["col"])}
        parts = entry["parts"]
        parts["columns"].append(row["col"])
        parts["referred_columns"].append(row["referred_column"])
        entry["definition"] = (
            f"({', '.join(parts['columns'])}) REFERENCES"
            f" {parts['referred_table']} ({', '.join(parts['referred_columns'])})"
            + (f" ON UPDATE {parts['on_update']}" if parts["on_update"] else "")
            + (f" ON DELETE {parts['on_delete']}" if parts["on_delete"] else "")
        )
    return implicit


def action(rule: str) -> str | None:
    return None if rule in {"RESTRICT", "NO ACTION"} else rule


def add_keys(catalog: Catalog, found: list[dict[str, Any]], foreign: set[tuple[str, str]]) -> None:
    keys: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found:
        keys.setdefault((row["table_name"], row["index_name"]), []).append(row)
    for (table_name, name), parts in keys.items():
        columns = [key_part(row) for row in parts]
        first = parts[0]
        simple = [row["column_name"] for row in parts]
        if name == "PRIMARY":
            entry = {"definition": f"PRIMARY KEY ({', '.join(columns)})"}
            entry |= {"parts": {"columns": simple, "name": None}}  # type: ignore[dict-item]
            put(catalog, "primary_key", {**named(table_name, None), **entry})
            continue
        unique = not int(first["non_unique"])
        made = not unique and (table_name, name) in foreign
        hidden = first.get("ignored", "NO") == "YES" or first.get("is_visible", "YES") == "NO"
        put(
            catalog,
            "index",
            {
                **named(table_name, name),
                "unique": unique,
                "definition": f"{first['index_type']} ({', '.join(columns)})",
                "visible": not hidden,
                "comment": first["index_comment"] or None,
                "auto_named": bool(re.fullmatch(rf"{re.escape(str(simple[0]))}(_\d+)?", name)),
                **({"for_foreign_key": True} if made else {}),
                "parts": {
                    "columns": simple,
                    "keys": columns,
                    "lengths": {
                        row["column_name"]: int(row["sub_part"]) for row in parts if row["sub_part"]
                    },
                    "method": first["index_type"],
                },
            },
        )


def key_part(row: dict[str, Any]) -> str:
    text = f"`{row['column_name']}`" if row["column_name"] else f"({row.get('expression')})"
    length = f"({row['sub_part']})" if row["sub_part"] else ""
    return text + length + (" DESC" if row["collation"] == "D" else "")


def check(row: dict[str, Any]) -> Entry:
    made_up = rf"CONSTRAINT_\d+|{re.escape(str(row['tab']))}_chk_\d+"
    return {
        **named(row["tab"], row["name"]),
        "definition": str(row["clause"]).replace("\\'", "'"),
        "enforced": row["enforced"] == "YES",
        "auto_named": bool(re.fullmatch(made_up, row["name"])),
        "parts": {"columns": []},
    }
