"""The safe form of what a statement did, as code for revisions with the names filled in.

Each text is Python that compiles; several `def upgrade()` are several revisions, and the
comment above each says when it runs. Statements are SQL inside `op.execute`, since not
every form has an operation of Alembic's own (USING INDEX, NOT VALID with a deferrable, ...).
"""

import re
from collections.abc import Sequence
from typing import Any

Change = dict[str, Any]


def quoted(name: str) -> str:
    """`public.users` as `users`, each part quoted where PostgreSQL wants that."""
    parts = name.removeprefix("public.").split(".")
    return ".".join(p if re.fullmatch(r"[a-z_][a-z0-9_]*", p) else f'"{p}"' for p in parts)


def bare(name: str) -> str:
    return name.rpartition(".")[2]


def revision(title: str, statements: Sequence[str], *, autocommit: bool = False) -> str:
    indent = "        " if autocommit else "    "
    lines = [f"# {title}", "def upgrade() -> None:"]
    if autocommit:
        lines.append("    with op.get_context().autocommit_block():")
    lines += [f"{indent}op.execute({literal(one)})" for one in statements]
    return "\n".join(lines) + "\n"


def literal(sql: str) -> str:
    """A Python string; a long one goes over lines."""
    one = '"' + sql.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return one if len(one) <= 84 and "\n" not in sql else f'"""{sql}"""'


def several(*revisions: str) -> str:
    return "\n\n".join(revisions)


def timeout(*statements: str) -> list[str]:
    """Statements that take a strong lock give up instead of queueing."""
    return ["SET LOCAL lock_timeout = '4s'", *statements]


def index(change: Change) -> str:
    definition = re.sub(
        r"^CREATE (UNIQUE )?INDEX ", r"CREATE \1INDEX CONCURRENTLY IF NOT EXISTS ",
        str(change["definition"]),
    )  # fmt: skip
    if " ON ONLY " in definition:
        name, table = bare(change["relation"]), quoted(change["table"])
        part = re.sub(r" CONCURRENTLY", "", definition)
        return several(
            revision(
                "Revision 1: an invalid index on the parent only; then, for each partition,"
                f" CREATE INDEX CONCURRENTLY and ALTER INDEX {name} ATTACH PARTITION",
                timeout(part),
            ),
            f"# {table}: the parent's index becomes valid when the last partition's is attached.\n",
        )
    return revision("A revision of its own", [definition], autocommit=True)


def drop_index(change: Change) -> str:
    statement = f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(change['relation'])}"
    return revision("A revision of its own", [statement], autocommit=True)


def not_valid(change: Change) -> str:
    """CHECK and FOREIGN KEY: first for new rows, then, without a strong lock, for old ones."""
    table, name = quoted(change["table"]), quoted(change["name"])
    definition = str(change["definition"]).removesuffix(" NOT VALID")
    return several(
        revision(
            "Revision 1: holds for new rows from now on",
            timeout(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID"),
        ),
        validate(change, "Revision 2: reads the old rows while others write"),
    )


def validate(change: Change, title: str = "A revision of its own, in its own transaction") -> str:
    table, name = quoted(change["table"]), quoted(change["name"])
    return revision(title, [f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"])


def using_index(change: Change) -> str:
    """UNIQUE and PRIMARY KEY: the index first, concurrently; the constraint takes it over."""
    table, name = quoted(change["table"]), quoted(change["name"])
    kind, _, columns = str(change["definition"]).partition("(")
    kind = re.sub(r" NULLS NOT DISTINCT", "", kind).strip()
    nulls = " NULLS NOT DISTINCT" if "NULLS NOT DISTINCT" in str(change["definition"]) else ""
    listed, _, rest = columns.partition(")")
    include = re.search(r"INCLUDE \([^)]*\)", rest)
    tail = (f" {include.group()}" if include else "") + nulls
    deferred = " DEFERRABLE INITIALLY DEFERRED" if "INITIALLY DEFERRED" in rest else ""
    return several(
        revision(
            "Revision 1",
            [f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({listed}){tail}"],
            autocommit=True,
        ),
        revision(
            "Revision 2"
            + (": its columns have to be NOT NULL by then" if "PRIMARY" in kind else ""),
            timeout(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {name}{deferred}"
            ),
        ),
    )


def set_not_null(table: str, column: str) -> str:
    t, c = quoted(table), quoted(column)
    name = quoted(f"{bare(table)}_{column}_not_null_check"[:63])
    return several(
        revision(
            "Revision 1: holds for new rows",
            timeout(f"ALTER TABLE {t} ADD CONSTRAINT {name} CHECK ({c} IS NOT NULL) NOT VALID"),
        ),
        revision(
            "Revision 2, after old rows are filled: reads them while others write",
            [f"ALTER TABLE {t} VALIDATE CONSTRAINT {name}"],
        ),
        revision(
            "Revision 3: no scan, the CHECK proves it",
            timeout(
                f"ALTER TABLE {t} ALTER COLUMN {c} SET NOT NULL",
                f"ALTER TABLE {t} DROP CONSTRAINT {name}",
            ),
        ),
    )


def batches(table: str, assignment: str, condition: str) -> str:
    """A backfill in small transactions. `condition` has to be false for a row that is done,
    else it never ends."""
    t = quoted(table)
    return (
        "# A revision of its own: each batch is a transaction\n"  # noqa: S608  (text for people)
        "def upgrade() -> None:\n"
        "    with op.get_context().autocommit_block():\n"
        "        while op.get_bind().exec_driver_sql(\n"
        f'            """UPDATE {t} SET {assignment} WHERE ctid = ANY (ARRAY(\n'
        f"                SELECT ctid FROM {t} WHERE {condition}\n"
        '                LIMIT 5000 FOR UPDATE))"""\n'
        "        ).rowcount:\n"
        "            pass\n"
    )


def backfill(table: str, sql: str) -> str:
    """The batched form of an UPDATE of one column; empty where its text does not say enough.

    A row is done when the column has its new value, so a value that depends on the old one
    (`n + 1`) would be computed for ever: none for that, but for what stays the same when it is
    done twice.
    """
    flat = " ".join(sql.split()).rstrip(";")
    found = re.match(r'(?i)UPDATE (?:ONLY )?\S+ SET ("?\w+"?) = (.+?)(?: WHERE (.+))?$', flat)
    if not found or re.search(r"%\(|%s|\$\d|\?|(?i:\b(?:FROM|RETURNING|SELECT)\b)", flat):
        return ""
    column, value, condition = found.groups()
    if "," in re.sub(r"\([^()]*\)|'[^']*'", "", value):
        return ""  # several columns
    again = re.fullmatch(
        rf"(?i)(?:lower|upper|trim|btrim)\({column}\)|coalesce\({column},.*\)", value
    )
    if re.search(rf"\b{re.escape(column)}\b", value) and not again:
        return ""
    todo = f"{column} IS DISTINCT FROM ({value})"
    both = f"{todo} AND ({condition})" if condition else todo
    return batches(table, f"{column} = {value}".replace("%", "%%"), both.replace("%", "%%"))


def add_volatile_column(table: str, change: Change) -> str:
    t, c = quoted(table), quoted(change["column"])
    if change["generated"] or change["identity"]:
        return several(
            revision(
                "Revision 1: a plain column; new code or a trigger fills it",
                timeout(f"ALTER TABLE {t} ADD COLUMN {c} {change['type']}"),
            ),
            "# Revision 2: fill old rows in batches. Revision 3: NOT NULL by way of a CHECK.\n",
        )
    default = change.get("expression") or "..."
    return several(
        revision(
            "Revision 1: a new default is for new rows only and rewrites nothing",
            timeout(
                f"ALTER TABLE {t} ADD COLUMN {c} {change['type']}",
                f"ALTER TABLE {t} ALTER COLUMN {c} SET DEFAULT {default}",
            ),
        ),
        batches(table, f"{c} = DEFAULT", f"{c} IS NULL").replace("# A", "# Revision 2: a"),
    )


def add_not_null_column(table: str, change: Change) -> str:
    t, c = quoted(table), quoted(change["column"])
    return several(
        revision(
            "Revision 1: old code may leave it out",
            timeout(f"ALTER TABLE {t} ADD COLUMN {c} {change['type']}"),
        ),
        "# Revision 2: fill old rows in batches, when all running code writes the column.\n",
        set_not_null(table, str(change["column"])).replace("Revision 3", "Revision 5")
        .replace("Revision 2,", "Revision 4,").replace("Revision 1", "Revision 3"),
    )  # fmt: skip


def new_column(table: str, column: str, kind: str, new: str | None = None) -> str:
    """Renames and new types: a second column beside the first, until no old code runs."""
    t, old, copy = quoted(table), quoted(column), quoted(new or f"{column}_new")
    trigger = quoted(f"{bare(table)}_{column}_copy"[:63])
    copies = (
        f"CREATE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN NEW.{copy} := NEW.{old}; RETURN NEW; END $$"
    )
    return several(
        revision(
            "Revision 1 (before the deploy): old code keeps writing the old column",
            timeout(
                f"ALTER TABLE {t} ADD COLUMN {copy} {kind}",
                copies,
                f"CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {t}"
                f" FOR EACH ROW EXECUTE FUNCTION {trigger}()",
            ),
        ),
        batches(table, f"{copy} = {old}", f"{copy} IS DISTINCT FROM {old}").replace(
            "# A", "# Revision 2: a"
        ),
        revision(
            "Revision 3 (after the deploy that uses the new column only)",
            timeout(
                f"DROP TRIGGER {trigger} ON {t}",
                f"DROP FUNCTION {trigger}()",
                f"ALTER TABLE {t} DROP COLUMN {old}",
            ),
        ),
    )


def rename_table(change: Change) -> str:
    old, new = quoted(change["relation"]), quoted(change["to"])
    return several(
        revision(
            "Revision 1: a view keeps the old name for old code",
            timeout(
                f"ALTER TABLE {old} RENAME TO {bare(new)}",
                f"CREATE VIEW {old} AS SELECT * FROM {new}",  # noqa: S608  (text for people)
            ),
        ),
        revision("Revision 2, when no old code runs", [f"DROP VIEW {old}"]),
    )


def drop_column(table: str, column: str) -> str:
    t, c = quoted(table), quoted(column)
    return several(
        revision(
            "Revision 1, with the code that no longer names the column: inserts may leave it out",
            timeout(f"ALTER TABLE {t} ALTER COLUMN {c} DROP NOT NULL"),
        ),
        revision(
            "Revision 2, when no old code runs and its values are saved or not wanted",
            timeout(f"ALTER TABLE {t} DROP COLUMN {c}"),
        ),
    )


def drop_table(table: str) -> str:
    t = quoted(table)
    gone = quoted(f"{bare(table)}_dropped"[:63])
    return several(
        revision(
            "Revision 1, when no code uses it: out of sight, and back with one RENAME",
            timeout(f"ALTER TABLE {t} RENAME TO {gone}"),
        ),
        revision("Revision 2, some releases later", timeout(f"DROP TABLE {gone}")),
    )


def rename_column(table: str, old: str, new: str) -> str:
    """What a drop and an addition probably were meant to be."""
    return (
        "def upgrade() -> None:\n"
        f'    op.alter_column("{bare(table)}", "{old}", new_column_name="{new}")\n'
    )


def concurrently(sql: str, word: str) -> str:
    """The same statement with CONCURRENTLY after `word`, outside of a transaction."""
    flat = " ".join(sql.split()).rstrip(";")
    safe = flat if "CONCURRENTLY" in flat.upper() else re.sub(
        rf"(?i)\b({word})\b", r"\1 CONCURRENTLY", flat, count=1
    )  # fmt: skip
    return revision("A revision of its own", [safe], autocommit=True)
