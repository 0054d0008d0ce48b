"""Work in proportion to a table's size while others wait: rewrites, scans, index builds."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from toolkit.migration.review.findings import Revision, Statement, make, plain, shown, verb
from toolkit.migration.review.forms import columns, constraints, indexes, partitions, retype
from toolkit.migration.review.forms.rows import facts_of
from toolkit.migration.review.forms.writing import Form
from toolkit.migration.review.postgresql_locks import strongest
from toolkit.report.finding import Finding, Verdict

Change = dict[str, Any]
Held = dict[str, set[str]]
"""Table -> modes that this transaction holds."""
WITHOUT_VERDICT = {"REFRESH", "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE"}
CONSTRAINT_RULES = {
    "c": ("check-scan", "Adding the CHECK {name} reads all of {table} under a lock"),
    "f": ("foreign-key-scan", "Adding the foreign key {name} compares all rows of {table} under"
          " locks on both tables"),
    "u": ("unique-scan", "Adding UNIQUE {name} builds an index on {table} under the strongest lock,"
          " and fails when there are duplicates"),
    "p": ("primary-key-scan", "Adding the primary key {name} reads all of {table} under the"
          " strongest lock"),
    "x": ("exclusion-scan", "Adding EXCLUDE {name} builds an index on {table} under the strongest"
          " lock; PostgreSQL has no gentler form"),
}  # fmt: skip


def work_findings(revision: Revision, statement: Statement, held: Held) -> Iterator[Finding]:
    """Blocks: work in proportion to the table's size while others wait."""
    changes = statement.get("changes", ())
    existed = {lock["relation"] for lock in statement["locks"] if lock["existed"]} | set(held)
    new = {c["relation"] for c in changes if c["what"] == "relation-created"}
    refused = {c["table"] for c in changes if c["what"] == "column-added" and needs_rows(c)}
    for table in statement["rewrites"]:
        if table not in new and (table in existed or not statement["in_transaction"]):
            yield rewrite_finding(revision, statement, parent_of(statement, table))
    # A new type also compares the foreign keys on it anew: said with the rewrite.
    retypes = bool(statement["rewrites"]) and any(c["what"] == "column-type" for c in changes)
    for table in statement["scans"]:
        mode = strongest(held.get(table, set()))
        if mode is None or retypes or table in {*refused, *new, *statement["rewrites"]}:
            continue
        if any(c["what"] == "index-rebuilt" and c["table"] == table for c in changes):
            continue  # told below
        asked = parent_of(statement, table)
        found = scan_finding(revision, statement, asked, f"{mode} on {shown(table)} during a scan")
        if found is not None:
            yield found
    yield from rebuilt_indexes(revision, statement, held)


def rebuilt_indexes(revision: Revision, statement: Statement, held: Held) -> Iterator[Finding]:
    """Indexes that are built anew where their table is not: REINDEX, some new types."""
    tables: dict[str, list[Change]] = {}
    for change in statement.get("changes", ()):
        if change["what"] == "index-rebuilt" and change["existed"]:
            tables.setdefault(change["table"], []).append(change)
    for table, rebuilt in tables.items():
        retyped = verb(statement["sql"]) != "REINDEX"
        # Outside of a transaction (REINDEX SCHEMA) the locks are gone when they are read.
        locked = strongest(held.get(table, set())) or not (
            retyped or "CONCURRENTLY" in plain(statement["sql"])
        )
        if table in statement["rewrites"] or not locked:
            continue
        names = ", ".join(shown(change["relation"]) for change in rebuilt)
        yield make(
            "type-change-index" if retyped else "reindex", Verdict.BLOCKS,
            f"{names} is built anew while {shown(table)} is locked.",
            revision, statement, table=table,
            evidence=[f"relfilenode of {names} changed"],
            rewrite=Form() if retyped else indexes.rebuilt(statement["sql"]),
        )  # fmt: skip


def parent_of(statement: Statement, table: str) -> str:
    """The partitioned table that the statement names, where it works on partitions, too."""
    changed = {c.get("table") for c in statement["changes"]}
    parent = facts_of(statement, table).get("parent")
    return parent_of(statement, str(parent)) if parent and parent in changed else table


def needs_rows(change: Change) -> bool:
    return change["not_null"] and not (
        change["default"] or change["identity"] or change["generated"]
    )


def retyped(revision: Revision, statement: Statement, table: str, change: Change) -> Form:
    """The form for a new type; it copies the column with its default, which has to be there."""
    before = revision["statements"][: revision["statements"].index(statement)]
    for other in (one for earlier in before for one in earlier["changes"]):
        same = other.get("table") == table and other.get("column") == change["column"]
        if same and other["what"] == "column-default":
            why = f"{change['column']} loses its default before, which code that still runs needs"
            return Form(why_not=why)
    facts = facts_of(statement, table)
    return retype.form(table, change, facts, statement["sql"], made_here=makes_type(revision))


def rewrite_finding(revision: Revision, statement: Statement, table: str) -> Finding:
    name = shown(table)
    seen = [f"relfilenode of {name} changed; duration is not measured on a scratch database"]
    words = plain(statement["sql"])
    of_table = [c for c in statement["changes"] if c.get("table") == table]
    for change in of_table:
        if change["what"] == "column-type":
            return make(
                "type-change-rewrite", Verdict.BLOCKS,
                f"{name}.{change['column']} from {change['before']} to {change['after']} writes the"
                " whole table and its indexes anew while nobody can read it; a value that does not"
                " fit stops it.",
                revision, statement, table=table, evidence=seen,
                rewrite=retyped(revision, statement, table, change),
            )  # fmt: skip
        if change["what"] == "column-added":
            return make(
                "add-column-rewrite", Verdict.BLOCKS,
                f"{name}.{change['column']} has a value of its own in each row, so the whole table"
                " is written anew while nobody can read it.",
                revision, statement, table=table, evidence=seen,
                rewrite=columns.added_with_value(table, change, facts_of(statement, table)),
            )  # fmt: skip
        if change["what"] == "persistence-changed" and change["to"] == "u":
            return make(
                "set-unlogged", Verdict.DATA_LOSS,
                f"{name} becomes unlogged: it is empty after a crash, and not on a replica. It is"
                " written anew while nobody can read it.",
                revision, statement, table=table, evidence=seen,
            )  # fmt: skip
        if change["what"] == "persistence-changed":
            return make(
                "persistence-rewrite", Verdict.BLOCKS,
                f"{name} becomes logged: it is written anew"
                " while nobody can read it.",
                revision, statement, table=table, evidence=seen,
            )  # fmt: skip
    by_code = verb(statement["sql"]) in {"DO", "SELECT", "CALL"}
    if "TRUNCATE" in words or (by_code and "CLUSTER" not in statement["sql"].upper()):
        return make(
            "truncate", Verdict.DATA_LOSS, f"All rows of {name} are removed.",
            revision, statement, table=table, evidence=seen,
        )  # fmt: skip
    for word, rule in {
        "VACUUM": "vacuum-full", "CLUSTER": "cluster", "REFRESH": "refresh-materialized-view",
    }.items():  # fmt: skip
        if words.startswith(word):
            safe = Form()
            if word == "REFRESH":
                safe = indexes.rebuilt(statement["sql"], facts_of(statement, table))
            return make(
                rule, Verdict.BLOCKS,
                f"{name} is written anew as a whole while nobody can read it.",
                revision, statement, table=table, evidence=seen, rewrite=safe,
            )  # fmt: skip
    return make(
        "table-rewrite", Verdict.BLOCKS,
        f"{name} is written anew as a whole while nobody can read it.",
        revision, statement, table=table, evidence=seen,
    )  # fmt: skip


def scan_finding(revision: Revision, statement: Statement, table: str, seen: str) -> Finding | None:
    """Why the table was read, told by what the same statement changed."""
    name = shown(table)
    of_table = [c for c in statement["changes"] if c.get("table") == table]
    for change in of_table:
        if change["what"] == "constraint-added" and change["valid"]:
            rule, text = CONSTRAINT_RULES[change["type"]]
            safe = Form()
            if change["type"] == "f":
                safe = constraints.foreign_key(change, statement, revision)
            elif change["type"] == "c":
                safe = constraints.check(change, statement, revision)
            elif change["type"] in "pu":
                safe = constraints.using_index(
                    change, statement, revision, replaced_by(revision, change)
                )
            return make(
                rule, Verdict.BLOCKS,
                text.format(name=change["name"], table=name) + ".",
                revision, statement, table=table, evidence=[seen], rewrite=safe,
            )  # fmt: skip
        if change["what"] == "constraint-validated":
            return make(
                "validate-with-lock", Verdict.BLOCKS,
                f"{change['name']} is validated in the transaction that already locks {name}: all"
                " rows are read under that lock.",
                revision, statement, table=table, evidence=[seen],
                rewrite=constraints.validate(change),
            )  # fmt: skip
    for change in statement["changes"]:
        found = column_or_index_scan(revision, statement, table, change, seen)
        if found is not None:
            return found
    # A materialized view has no other writers, so who refreshes it concurrently keeps nobody
    # waiting. What works on rows is looked at by findings_of_rows.
    if verb(statement["sql"]) in WITHOUT_VERDICT or indexes_partitions(statement):
        return None
    return make(
        "scan-with-lock", Verdict.BLOCKS, f"All of {name} is read under a strong lock.",
        revision, statement, table=table, evidence=[seen],
    )  # fmt: skip


def column_or_index_scan(
    revision: Revision, statement: Statement, table: str, change: Change, seen: str
) -> Finding | None:
    """Asked after constraints: a primary key sets NOT NULL and builds an index, too."""
    name = shown(table)
    if change.get("table") != table:
        return None
    if change["what"] == "column-not-null" and change["after"]:
        return make(
            "set-not-null-scan", Verdict.BLOCKS,
            f"NOT NULL on {name}.{change['column']} reads all rows under the strongest lock,"
            " and fails when one is NULL.",
            revision, statement, table=table, evidence=[seen],
            rewrite=constraints.set_not_null(table, change["column"]),
        )  # fmt: skip
    if change["what"] == "partition-attached":
        return make(
            "attach-partition-scan", Verdict.BLOCKS,
            f"All rows of {name} are read under a lock to see that they belong there. A"
            " validated CHECK with the partition's bounds makes that unnecessary.",
            revision, statement, table=table, evidence=[seen],
            rewrite=partitions.attached(change, statement),
        )  # fmt: skip
    if change["what"] == "index-created":
        return make(
            "index-not-concurrent", Verdict.BLOCKS,
            f"The index {shown(change['relation'])} is built while {name} is locked against"
            " writing.",
            revision, statement, table=table, evidence=[seen],
            rewrite=indexes.create((change, facts_of(statement, table))),
        )  # fmt: skip
    return None


def indexes_partitions(statement: Statement) -> bool:
    """An index of a partitioned table: said of the parent, or of the partitions by name."""
    return any(
        c["what"] == "index-created" and c["kind"] == "I" and c["old_table"]
        for c in statement["changes"]
    )


def indexes_together(revision: Revision, found: list[Finding]) -> list[Finding]:
    """All indexes that a revision builds under a lock as one finding with one form (#13)."""
    several = [one for one in found if one.rule == "index-not-concurrent"]
    if len(several) < 2:
        return found
    lines = {one.line for one in several}
    made = [
        (change, facts_of(statement, change["table"]))
        for statement in revision["statements"]
        for change in statement.get("changes", ())
        if change["what"] == "index-created" and change["old_table"] and statement["line"] in lines
        if parent_of(statement, change["table"]) == change["table"]
    ]
    names = ", ".join(shown(change["relation"]) for change, _ in made)
    form = indexes.create(*made)
    together = replace(
        several[0],
        message=f"{len(made)} indexes are built while their tables are locked against writing:"
        f" {names}. {form.why_not}".strip(),
        evidence=tuple(dict.fromkeys(line for one in several for line in one.evidence)),
        rewrite=form.text,
    )
    return [together if one is several[0] else one for one in found if one not in several[1:]]


def replaced_by(revision: Revision, added: Change) -> Change | None:
    """A constraint of the same name that the revision drops."""
    for statement in revision["statements"]:
        for change in statement.get("changes", ()):
            same = (change.get("table"), change.get("name")) == (added["table"], added["name"])
            if change["what"] == "constraint-dropped" and same:
                found: Change = change
                return found
    return None


def makes_type(revision: Revision) -> bool:
    return any(
        change["what"] in {"type-created", "type-renamed"}
        for statement in revision["statements"]
        for change in statement.get("changes", ())
    )
