"""A flag that a script prints is one that it has; "next" is a command of this project (#12)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.connection import command as connection
from toolkit.migration import command as migration
from toolkit.queries import command as queries
from toolkit.setup import command as setup

pytestmark = pytest.mark.any_sqlalchemy

TOOLKIT = Path(setup.__file__).resolve().parents[1]
PARSERS = {
    "setup": setup.parser(),
    "migration": migration.parser(),
    "connection": connection.parser(),
    "queries": queries.parser(),
}
DOORS = {
    "setup-alembic.sh": "setup",
    "generate-migration.sh": "migration",
    "test-connection.sh": "connection",
    "optimize-queries.sh": "queries",
}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
ARGUMENT = re.compile(r"--[\w-]+(?:=\S*)?")
PROGRAMS = re.compile(
    r"\b(?:alembic|pytest|uvicorn|gunicorn|pip|git|psql|mysqld?|mariadbd?|pgbouncer|initdb|"
    r"pg_ctl|postgres|fastapi|squawk|poetry|uv|docker|tox)\b[^\n`]*?$"
)


def flags_of(name: str) -> set[str]:
    return {flag for action in PARSERS[name]._actions for flag in action.option_strings}


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module that is no docstring; what is filled in is `{}`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = (one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)
            yield node.lineno, "".join(map(str, values))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation | parts
        ):
            yield node.lineno, node.value


def printed_flags(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, flag, and the door whose name stands before it in the same text."""
    for line, text in texts(file):
        if ARGUMENT.fullmatch(text):  # of a program that is started
            continue
        for found in FLAG.finditer(text):
            before = text[: found.start()]
            doors = [(before.rfind(door), door) for door in DOORS if door in before]
            nearest = max(doors)[1] if doors else ""
            if PROGRAMS.search(before.rpartition(nearest)[2] if nearest else before):
                continue
            yield line, found[0], nearest


FILES = sorted(TOOLKIT.rglob("*.py"))
# What several scripts print may name a flag of each of them.
SHARED = {"project", "database", "report"}


@pytest.mark.parametrize("room", [*PARSERS, *sorted(SHARED)])
def test_every_flag_that_is_printed_is_there(room: str) -> None:
    unknown = []
    seen = 0
    for file in FILES:
        if file.relative_to(TOOLKIT).parts[0] != room or "worker" in file.name:
            continue
        for line, flag, door in printed_flags(file):
            seen += 1
            names = [DOORS[door]] if door else [room] if room in PARSERS else list(PARSERS)
            if not any(flag in flags_of(name) for name in names):
                unknown.append(f"{file.relative_to(TOOLKIT)}:{line} {flag} {door}".rstrip())
    assert unknown == []
    assert seen


def test_the_test_sees_a_wrong_flag(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text('raise E(f"Run test-connection.sh {x} --app y, or pip install --quiet z")\n')
    assert list(printed_flags(file)) == [(1, "--app", "test-connection.sh")]
    assert "--app" not in flags_of("connection")
