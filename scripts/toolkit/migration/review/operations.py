"""What Alembic's operations and the revision's file say, whatever the database.

A downgrade that does not go back, constraints without a name, connections of its own.
"""

import ast
import re
from collections.abc import Iterator, Set

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
    return [
        *way_back(revision, source),
        *unnamed(revision),
        *elsewhere(revision),
        *of_source(revision, source),
    ]


def of_source(revision: Revision, source: str) -> Iterator[Finding]:
    """What a run on a scratch database can't show: there, no loop has rows, and the
    environment is another one (#15)."""
    function = function_of(source, "upgrade") if source else None
    if function is None:
        return
    functions = reached(source, function)
    named = names_of_environment(source, functions)
    if is_empty(function) and not is_merge(source):
        yield make(
            "empty-revision", Verdict.STYLE,
            "upgrade() does nothing: a step in the history that says nothing.",
            revision, line=function.lineno, source="operations",
        )  # fmt: skip
    for find, rule, verdict, message in (
        (
            lambda one: asks_environment(one, named), "depends-on-environment", Verdict.DRIFT,
            "What upgrade() does depends on where it runs: another environment gets another"
            " schema, and only this one was looked at.",
        ),
        (
            writes_in_loop, "rows-one-by-one", Verdict.BLOCKS,
            "A loop over rows sends a statement for each: every row stays locked until COMMIT, for"
            " as long as all the round trips take. One statement, in batches along the key.",
        ),
        (
            batches_together, "batches-in-one-transaction", Verdict.BLOCKS,
            "The batches are one transaction: every row stays locked until the last is done. Put"
            " the loop into `with op.get_context().autocommit_block():`.",
        ),
    ):  # fmt: skip
        line = next(filter(None, map(find, functions)), None)
        if line is not None:
            yield make(rule, verdict, message, revision, line=line, source="operations")


def reached(source: str, function: ast.FunctionDef) -> list[ast.FunctionDef]:
    """It, and what it calls of the file's own functions."""
    own = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    found = [function]
    for one in found:
        called = {node.id for node in ast.walk(one) if isinstance(node, ast.Name)}
        found += [own[name] for name in sorted(called & set(own)) if own[name] not in found]
    return found


def names_of_environment(source: str, functions: list[ast.FunctionDef]) -> set[str]:
    """What the file has from its surroundings: constants, and functions that ask."""
    return {
        target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ENVIRONMENT.search(ast.unparse(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    } | {
        one.name
        for one in functions[1:]
        if any(
            isinstance(node, ast.Return) and node.value and ENVIRONMENT.search(ast.unparse(node))
            for node in ast.walk(one)
        )
    }


ENVIRONMENT = re.compile(
    r"\bos\.(?:environ|getenv|uname|name)\b|\b(?:environ|getenv)\b|\bget_x_argument\b"
    r"|\bsocket\.gethostname\b|\bplatform\.\w|\bsys\.platform\b|\bsettings\.\w"
)
WRITES = re.compile(
    r"(?i)\b(?:UPDATE|DELETE FROM|INSERT INTO)\b|\.(?:update|delete|insert)\(|\bbulk_insert\("
)
READS = re.compile(
    r"(?i)\bSELECT\b|\bselect\(|\.(?:fetchall|fetchmany|scalars|mappings|all|query)\("
)


def batches_together(function: ast.FunctionDef) -> int | None:
    """The line of a `while` that works in batches, and never commits."""
    text = ast.unparse(function)
    if "autocommit_block" in text or re.search(r"(?i)\bcommit\b", text):
        return None
    for node in ast.walk(function):
        if isinstance(node, ast.While) and sends_writes(ast.unparse(node)):
            return node.lineno
    return None


def is_merge(source: str) -> bool:
    """Has it several parents, which it only joins?"""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(one, ast.Name) and one.id == "down_revision" for one in targets):
            return isinstance(getattr(node, "value", None), ast.Tuple | ast.List)
    return False


def asks_environment(function: ast.FunctionDef, named: Set[str]) -> int | None:
    """The line of a condition (or value) that another machine answers otherwise. `named`: what
    the file's other parts have from there."""
    for node in ast.walk(function):
        test = getattr(node, "test", None) if isinstance(node, ast.If | ast.IfExp) else None
        if test is not None and ENVIRONMENT.search(ast.unparse(test)):
            return int(test.lineno)
    known = named | {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and ENVIRONMENT.search(ast.unparse(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.IfExp):
            names = {one.id for one in ast.walk(node.test) if isinstance(one, ast.Name)}
            if names & known:
                return node.test.lineno
    return None


def writes_in_loop(function: ast.FunctionDef) -> int | None:
    """The line of a `for` over what the database returned, with a statement for each row."""
    read = {
        name.id: node
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and READS.search(ast.unparse(node.value))
        for target in node.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    sent = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and WRITES.search(ast.unparse(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and writes_list(node, set(read)):
            return node.lineno
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            of, parts = node.generators[0].iter, [ast.unparse(node.elt)]
        elif isinstance(node, ast.For):
            of, parts = node.iter, [*map(ast.unparse, node.body)]
        else:
            continue
        names = {one.id for one in ast.walk(of) if isinstance(one, ast.Name)}
        if (READS.search(ast.unparse(of)) or names & set(read)) and (
            sends_writes("\n".join(parts))
            or any(re.search(rf"\bexecute\({name}\b", part) for name in sent for part in parts)
            or (isinstance(node, ast.For) and sets_attribute(node))
        ):
            return node.lineno
    return None


def sends_writes(text: str) -> bool:
    """A dict has an update(), too: somebody has to send it."""
    return bool(WRITES.search(text) and re.search(r"\bexecute\(|\bbulk_|\.delete\(", text))


def writes_list(call: ast.Call, read: set[str]) -> bool:
    """`execute(update, [... for row in rows])`: a statement for each of them, too."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "execute"):
        return False
    made = [
        one for given in call.args[1:] for one in ast.walk(given) if isinstance(one, ast.ListComp)
    ]
    names = {name.id for one in made for name in ast.walk(one) if isinstance(name, ast.Name)}
    over = " ".join(ast.unparse(one.generators[0].iter) for one in made)
    return bool(names & read or READS.search(over)) and bool(
        re.search(r"(?i)\bUPDATE\b|\bDELETE\b|\.(?:update|delete)\(", ast.unparse(call.args[0]))
    )


def sets_attribute(loop: ast.For) -> bool:
    """`for user in session.query(User): user.name = ...`, which the next flush writes."""
    return isinstance(loop.target, ast.Name) and any(
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id == loop.target.id
        for node in ast.walk(loop)
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )


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
