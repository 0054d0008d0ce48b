"""What was missed, in words."""

from typing import Any

from toolkit.database.catalog import Difference, Entry

NAMES = {"primary_key": "primary key", "foreign_key": "foreign key", "exclusion": "exclusion"}
NAMES |= {"check": "check constraint", "unique": "unique constraint"}
LONGEST = 120


def words_of(group: list[Difference], default_schema: str | None) -> str:
    """One line for one object."""
    first = group[0]
    if first.attribute is None:
        told = first.after.get("definition") or first.after.get("values")
        place = subject(first.kind, first.after, default_schema)
        return f"{place} is missing" + (f": {shown(told)}" if told else "")
    entry = {"schema": None, "name": first.name}
    place = subject(first.kind, entry, default_schema, qualified=True)
    if first.attribute == "column_order":
        return (
            f"{place}: the columns stand in another order ({shown(first.before)}, the models"
            f" have {shown(first.after)}); nothing but a new table changes that, and nothing"
            " depends on it that names its columns"
        )
    values = next((one for one in group if (one.kind, one.attribute) == ("enum", "values")), None)
    if values is not None and (gone := [v for v in values.before if v not in values.after]):
        words = " and ".join(repr(value) for value in gone)
        return (
            f"{place}: the models no longer have {words}; reading a row that has it is a"
            " LookupError, so give such rows another value first, or let the models keep it"
        )
    changes = (
        f"{str(one.attribute).replace('_', ' ')} is {shown(one.before)}, the models want"
        f" {shown(one.after)}"
        for one in group
    )
    return f"{place}: " + "; ".join(changes)


def subject(kind: str, entry: Entry, default_schema: str | None, *, qualified: bool = False) -> str:
    name = str(entry["name"] or "")
    if qualified:
        name = name.removeprefix(f"{default_schema}.")
        return f"{NAMES.get(kind, kind.replace('_', ' '))} {name}"
    schema = entry.get("schema")
    prefix = f"{schema}." if schema and schema != default_schema else ""
    where = f" on {prefix}{entry['table']}" if "table" in entry else ""
    label = NAMES.get(kind, kind.replace("_", " "))
    return f"{label} {name if where else prefix + name}".rstrip() + where


def shown(value: Any) -> str:  # noqa: ANN401  (an attribute of any kind)
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        text = ", ".join(f"{key}={shown(one)}" for key, one in value.items())
    elif isinstance(value, list):
        text = ", ".join(map(str, value))
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
