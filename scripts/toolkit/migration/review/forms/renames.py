"""Renames and drops of tables: under the old name there is a view until no old code runs.

A view on one table takes INSERT, UPDATE and DELETE as the table does, so both versions of the
code write the same rows: nothing is copied and no trigger can lose a value (#15).
"""

from toolkit.migration.review.forms.constraints import version_of
from toolkit.migration.review.forms.writing import (
    Change,
    Code,
    Facts,
    Form,
    Part,
    bare,
    own_name,
    revision,
    several,
    sql_name,
    table_name,
    text,
)

ROW_SECURITY = (
    "It has row level security, which a view goes around before PostgreSQL 15: rename it in a"
    " pause."
)
ON_A_VIEW = "COPY FROM, TRUNCATE and ALTER TABLE have to name the table itself meanwhile."


def view(
    name: str, columns: str, table: str, version: str, twins: tuple[str, str] | None = None
) -> list[Part]:
    """The view with the rights that people have on the table, of which only the server knows."""
    shown = "ARRAY[attname::text]"
    if twins is not None:
        new, old = map(text, twins)
        shown = f"CASE attname WHEN {new} THEN ARRAY[{new}, {old}] ELSE {shown} END"
    rights = f"""\
DO $$
DECLARE given record;
BEGIN
    FOR given IN
        SELECT privilege_type, is_grantable, '' AS listed,
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS who
        FROM pg_class, aclexplode(relacl) WHERE oid = {text(table)}::regclass
        UNION ALL
        SELECT privilege_type, is_grantable, format('(%I)', shown),
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_attribute, aclexplode(attacl), unnest({shown}) AS shown
        WHERE attrelid = {text(table)}::regclass
    LOOP
        EXECUTE format('GRANT %s %s ON %s TO %s', given.privilege_type, given.listed,
            {text(name)}, given.who || CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION'
            ELSE '' END);
    END LOOP;
END $$"""
    invoker = " WITH (security_invoker = true)" if version_of(version) >= 15 else ""
    return [f"CREATE VIEW {name}{invoker} AS SELECT {columns} FROM {table}", rights]


def column(table: str, old: str, new: str, facts: Facts, version: str) -> Form:
    if facts.get("kind") not in ("r", "p") or facts.get("parent"):
        return Form()
    if facts.get("row_security") and version_of(version) < 15:
        return Form(why_not=ROW_SECURITY)
    name = table_name(table)
    moved = own_name(bare(table), "table")
    there = table_name(f"{table.rpartition('.')[0]}.{moved}")
    both = view(name, f"*, {sql_name(new)} AS {sql_name(old)}", there, version, (new, old))
    return several(
        revision(
            "Revision 1 (before the deploy): the table's name is that of a view, which has the"
            f" column under both names. {ON_A_VIEW}",
            [
                f"ALTER TABLE {name} RENAME COLUMN {sql_name(old)} TO {sql_name(new)}",
                f"ALTER TABLE {name} RENAME TO {sql_name(moved)}",
                *both,
            ],
            [
                f"DROP VIEW {name}",
                f"ALTER TABLE {there} RENAME TO {sql_name(bare(table))}",
                f"ALTER TABLE {name} RENAME COLUMN {sql_name(new)} TO {sql_name(old)}",
            ],
        ),
        revision(
            "Revision 2, when no old code runs",
            [f"DROP VIEW {name}", f"ALTER TABLE {there} RENAME TO {sql_name(bare(table))}"],
            [f"ALTER TABLE {name} RENAME TO {sql_name(moved)}", *both],
        ),
    )


def table(change: Change, facts: Facts, version: str) -> Form:
    """Another name, another schema, or both."""
    if change["kind"] not in "rp" or facts.get("parent"):
        return Form()
    if facts.get("row_security") and version_of(version) < 15:
        return Form(why_not=ROW_SECURITY)
    old, new = table_name(change["relation"]), table_name(change["to"])
    forth = moves(change["relation"], change["to"])
    back = moves(change["to"], change["relation"])
    seen = view(old, "*", new, version)
    return several(
        revision(
            f"Revision 1 (before the deploy): a view keeps the old name for old code. {ON_A_VIEW}",
            [*forth, *seen],
            [f"DROP VIEW {old}", *back],
        ),
        revision("Revision 2, when no old code runs", [f"DROP VIEW {old}"], seen),
    )


def moves(old: str, new: str) -> list[Part]:
    """SET SCHEMA, RENAME, or both."""
    (from_schema, _, from_name), (to_schema, _, to_name) = old.rpartition("."), new.rpartition(".")
    found: list[Part] = []
    here = old
    if from_schema != to_schema:
        found.append(f"ALTER TABLE {table_name(old)} SET SCHEMA {sql_name(to_schema)}")
        here = f"{to_schema}.{from_name}"
    if from_name != to_name:
        found.append(f"ALTER TABLE {table_name(here)} RENAME TO {sql_name(to_name)}")
    return found


def dropped(relation: str, facts: Facts, sql: str) -> Form:
    """Out of sight first, and back with one statement."""
    name = table_name(relation)
    gone = own_name(bare(relation), "dropped")
    there = table_name(f"{relation.rpartition('.')[0]}.{gone}")
    hide: list[Part] = [f"ALTER TABLE {name} RENAME TO {sql_name(gone)}"]
    back: list[Part] = [f"ALTER TABLE {there} RENAME TO {sql_name(bare(relation))}"]
    if facts.get("parent"):
        parent = table_name(facts["parent"])
        hide = [f"ALTER TABLE {parent} DETACH PARTITION {name}", *hide]
        back = [*back, f"ALTER TABLE {parent} ATTACH PARTITION {name} {facts['bound']}"]
    cascade = " CASCADE" if "CASCADE" in sql.upper() else ""
    return several(
        revision("Revision 1, when no code uses it: out of sight", hide, back),
        revision(
            "Revision 2, some releases later: from then on only a backup brings it back",
            [f"DROP TABLE {there}{cascade}"],
            [Code('raise NotImplementedError("only a backup brings the rows back")')],
        ),
    )
