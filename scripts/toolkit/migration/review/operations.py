"""What Alembic's operations and the revision's file say, whatever the database.

A downgrade that does not go back, constraints without a name, connections of its own.
"""

import ast
import re
from collections.abc import Iterator

from toolkit.migration.review.findings import Revision, make, one_line, plain
from toolkit.report.finding import Finding, Verdict

# These leave nothing that a downgrade would have to undo.
NOTHING_TO_UNDO = {"constraint-validated", "index-rebuilt", "persistence-changed"}
SCHEMA_VERBS = ("CREATE ", "ALTER TABLE", "DROP ", "RENAME ")
NAMED = {
    "CreateUniqueConstraint": "op.create_unique_constraint",
    "CreateForeignKey": "op.create_foreign_key",
    "CreateCheckConstraint": "op.create_check_constraint",
}


def findings_of_file(revision: Revision, source: str) -> list[Finding]:
    if revision["direction"] != "upgrade":
        return []
    return [*way_back(revision, source), *unnamed(revision), *elsewhere(revision)]


def elsewhere(revision: Revision) -> Iterator[Finding]:
    """Statements on a connection of the revision's own."""
    for statement in revision.get("elsewhere", ()):
        words = plain(statement["sql"])
        loses = words.startswith("TRUNCATE") or re.search(r"\bDROP (TABLE|COLUMN|SCHEMA)\b", words)
        yield make(
            "other-connection", Verdict.DATA_LOSS if loses else Verdict.IRREVERSIBLE,
            "A connection of its own: what it does stays when the migration fails, waits for the"
            " locks that the migration holds, and was not looked at here. Use op.get_bind().",
            revision, evidence=[f"statement: {one_line(statement['sql'])}"],
            line=statement["line"], source="operations",
        )  # fmt: skip


def way_back(revision: Revision, source: str) -> Iterator[Finding]:
    """A downgrade that is empty or raises, where the upgrade changed the schema."""
    if not source or revision["error"] is not None or not changes_schema(revision):
        return
    function = function_of(source, "downgrade")
    if function is None or is_empty(function):
        yield make(
            "downgrade-empty", Verdict.IRREVERSIBLE,
            "downgrade() undoes nothing, but Alembic will record that it did: what was made stays,"
            " and the next upgrade meets it.",
            revision, line=function.lineno if function else None, source="operations",
        )  # fmt: skip
    elif (line := raises(function)) is not None:
        yield make(
            "downgrade-raises", Verdict.IRREVERSIBLE,
            "downgrade() raises: there is no way back from this revision.",
            revision, line=line, source="operations",
        )  # fmt: skip


def changes_schema(revision: Revision) -> bool:
    for statement in revision["statements"]:
        if plain(statement["sql"]).startswith("CREATE EXTENSION"):
            continue  # what a downgrade had better leave: others may use it by then
        if "changes" in statement:
            if any(change["what"] not in NOTHING_TO_UNDO for change in statement["changes"]):
                return True
        elif " ".join(statement["sql"].split()).upper().startswith(SCHEMA_VERBS):
            return True
    return False


def function_of(source: str, name: str) -> ast.FunctionDef | None:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    return None


def is_empty(function: ast.FunctionDef) -> bool:
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Return) and node.value is None)
        for node in function.body
    )


def raises(function: ast.FunctionDef) -> int | None:
    """The line of a `raise` that is always reached."""
    return next((node.lineno for node in function.body if isinstance(node, ast.Raise)), None)


def unnamed(revision: Revision) -> Iterator[Finding]:
    for op in revision["operations"]:
        if op["op"] in NAMED and not op.get("constraint_name") and not op.get("name"):
            yield make(
                "unnamed-constraint", Verdict.STYLE,
                f"{NAMED[op['op']]} without a name: the database makes one up, and a downgrade has"
                " nothing to call it by. Give a name, or the metadata a naming_convention.",
                revision, table=op.get("table"), line=op.get("line"), source="operations",
            )  # fmt: skip
