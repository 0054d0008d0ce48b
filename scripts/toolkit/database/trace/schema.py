"""Columns of all tables before and after a statement: what it took away, added or renamed.

For MySQL and SQLite, whose schemas are small to read and have no oids: that a column was
renamed and not dropped, only the statement's words can tell.
"""

import re
from typing import Any

Columns = dict[str, dict[str, Any]]
"""Name -> type, nullable, default."""
Tables = dict[str, Columns]
Change = dict[str, Any]

NAME = r'[`"\[]?([^`"\]\s,;()]+)[`"\]]?'
REPLACED = re.compile(rf"\s*CREATE\s+OR\s+REPLACE\s+TABLE\s+{NAME}", re.IGNORECASE)
REPLACES = re.compile(
    rf"\s*(?:REPLACE\s+(?:INTO\s+)?|INSERT\s+OR\s+REPLACE\s+INTO\s+){NAME}\s*\(([^()]*)\)\s*"
    r"(?:VALUES?|SELECT)\b",
    re.IGNORECASE,
)
RENAMED = re.compile(
    rf"(?:RENAME\s+(?:COLUMN\s+)?{NAME}\s+TO|CHANGE\s+(?:COLUMN\s+)?{NAME})\s+{NAME}", re.IGNORECASE
)


def changes_between(before: Tables, after: Tables, sql: str) -> list[Change]:
    """What one statement did, in the order of the tables' names."""
    changes, before = renamed_in_order(before, sql)
    if (found := REPLACED.match(sql)) and found[1] in before:
        before = {name: columns for name, columns in before.items() if name != found[1]}
        changes.append({"what": "table-dropped", "table": found[1]})
    gone, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    for table in gone:
        # A rename keeps the columns; statements that rename several name them in order.
        same = [name for name in new if after[name] == before[table] and is_rename(sql, table)]
        if same:
            new.remove(same[0])
            changes.append({"what": "table-renamed", "table": table, "new": same[0]})
        else:
            changes.append({"what": "table-dropped", "table": table})
    changes += [{"what": "table-created", "table": table} for table in new]
    for table in sorted(before.keys() & after.keys()):
        changes += column_changes(table, before[table], after[table], sql)
    return changes


def note_replaced(statement: dict[str, Any], tables: Tables) -> None:
    """What REPLACE does not name, and so takes away from a row that has the key."""
    if found := REPLACES.match(statement["sql"]):
        named = {one.strip(' `"[]\n').lower() for one in found[2].split(",")}
        left = [one for one in tables.get(found[1], ()) if one.lower() not in named]
        statement["replaced"] = {"table": found[1], "left": left}


def renamed_in_order(before: Tables, sql: str) -> tuple[list[Change], Tables]:
    """RENAME TABLE of several: one may get the name that another has given up."""
    if not re.match(r"\s*RENAME\s+TABLES?\b", sql, re.IGNORECASE):
        return [], before
    changes: list[Change] = []
    for table, new in re.findall(rf"{NAME}\s+TO\s+{NAME}", sql, re.IGNORECASE):
        if table in before:
            before = {new if name == table else name: one for name, one in before.items()}
            changes.append({"what": "table-renamed", "table": table, "new": new})
    return changes, before


def is_rename(sql: str, table: str) -> bool:
    words = sql.upper()
    return "RENAME" in words and table.upper() in words


def column_changes(table: str, before: Columns, after: Columns, sql: str) -> list[Change]:
    changes: list[Change] = []
    renamed = {(found[0] or found[1]).lower(): found[2].lower() for found in RENAMED.findall(sql)}
    new = {name for name in after if name not in before}
    for name in before:
        heir = next((one for one, to in renamed.items() if to == name.lower()), None)
        if name in after and heir in {one.lower() for one in before if one not in after}:
            # Dropped, and another column took its name in the same statement.
            changes.append(
                {"what": "column-dropped", "table": table, "column": name, **before[name]}
            )
            new.add(name)
        elif name in after:
            changes += altered(table, name, before[name], after[name])
    for name in before:
        if name in after:
            continue
        target = renamed.get(name.lower())
        match = next((one for one in new if one.lower() == target), None)
        if match is None:
            changes.append(
                {"what": "column-dropped", "table": table, "column": name, **before[name]}
            )
        else:
            new.discard(match)
            changes.append({"what": "column-renamed", "table": table, "column": name, "new": match})
            changes += altered(table, match, before[name], after[match])
    return changes + [
        {"what": "column-added", "table": table, "column": name, **after[name]}
        for name in after
        if name in new
    ]


def altered(table: str, column: str, before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    place = {"table": table, "column": column}
    changes: list[Change] = []
    if before["type"] != after["type"]:
        changes.append(
            {"what": "type-changed", **place, "before": before["type"], "after": after["type"]}
        )
    if before["nullable"] and not after["nullable"]:
        changes.append({"what": "not-null-set", **place})
    if before["default"] and not after["default"]:
        nullable = {"nullable": after["nullable"], "was_nullable": before["nullable"]}
        changes.append({"what": "default-dropped", **place, **nullable})
    return changes
