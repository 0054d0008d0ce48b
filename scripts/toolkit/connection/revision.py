"""The revision that the database is at, against the heads of the project's migrations.

The files are read, not imported: they are the project's code.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.connection.steps import Layer, Step, not_checked, ok, stop, warning
from toolkit.project.commands import alembic_line
from toolkit.project.facts import Project
from toolkit.project.imports import parse
from toolkit.project.root import read_text

VERSION_TABLE = re.compile(r"\bversion_table\s*=\s*['\"](\w+)['\"]")
COMPUTED_TABLE = re.compile(r"\bversion_table\s*=(?!=)\s*(?!None\b|['\"])\S")
VERSION_SCHEMA = re.compile(r"\bversion_table_schema\s*=\s*['\"](\w+)['\"]")
SAID = ("revision", "down_revision", "depends_on", "branch_labels")
"""The last two may be what nobody can read without running it."""


@dataclass(frozen=True)
class History:
    """Revisions with those that they build on."""

    parents: Mapping[str, tuple[str, ...]]
    table: str = "alembic_version"
    schema: str | None = None
    upgrade: str = "alembic upgrade head"
    """The command, as it works where the script was started."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By `depends_on`: a version table that names a revision does not name those that it needs."""

    @property
    def heads(self) -> frozenset[str]:
        below = {one for parents in self.parents.values() for one in parents}
        return frozenset(self.parents) - below

    def behind(self, current: Iterable[str]) -> int:
        """How many revisions are not in what `current` has behind it."""
        done: set[str] = set()
        waiting = list(current)
        while waiting:
            one = waiting.pop()
            if one not in done:
                done.add(one)
                waiting += (*self.parents.get(one, ()), *self.needs.get(one, ()))
        return len(set(self.parents) - done)


def read_history(project: Project | None) -> History | None:
    """The project's migrations; None where it has none, or several set-ups."""
    if project is None or len(project.alembic) != 1:
        return None
    setup = project.alembic[0]
    said = {
        found["revision"][0]: found
        for folder in setup.versions
        for path in sorted(folder.rglob("*.py"))
        if (found := read_revision(path)) is not None
    }
    labels = {label: name for name, one in said.items() for label in one["branch_labels"]}
    env = read_text(setup.env)
    table, schema = VERSION_TABLE.search(env), VERSION_SCHEMA.search(env)
    return History(
        {name: one["down_revision"] for name, one in said.items()},
        table[1] if table else "alembic_version",
        schema[1] if schema else None,
        alembic_line(project, setup, ["upgrade", "head"]),
        {
            name: tuple(labels.get(needed, needed) for needed in one["depends_on"])
            for name, one in said.items()
        },
    )


def read_revision(path: Path) -> dict[str, tuple[str, ...]] | None:
    """What a revision says of itself and of others; None for a file that is none."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(SAID, ())
    try:
        tree = parse(path, path.stem).tree
    except (SyntaxError, OSError):
        return None
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in SAID:
                try:
                    value = ast.literal_eval(node.value)
                except ValueError:
                    if target.id in SAID[:2]:
                        return None
                    continue
                value = [value] if isinstance(value, str) else value
                found[target.id] = tuple(value) if isinstance(value, list | tuple) else ()
    return found if found["revision"] else None


def unreadable(project: Project | None) -> Step | None:
    """Why there is nothing to compare with; None where there is."""
    if project is None:
        return not_checked(Layer.REVISION, "no project is named, hence no migrations (--project)")
    if not project.alembic:
        return not_checked(Layer.REVISION, "the project has no Alembic set-up")
    if len(project.alembic) > 1:
        names = ", ".join(setup.ini.name for setup in project.alembic)
        return not_checked(Layer.REVISION, f"the project has several Alembic set-ups: {names}")
    env = project.alembic[0].env
    text = read_text(env) if env.is_file() else ""
    if COMPUTED_TABLE.search(text) and not VERSION_TABLE.search(text):
        words = "env.py computes the name of its version table: `alembic current` tells"  # (#12)
        return not_checked(Layer.REVISION, words)
    return None


def judge_revision(history: History, current: frozenset[str] | None) -> Step:
    """`current` is None where the version table is missing. Raises Broken."""
    heads, total = history.heads, len(history.parents)
    data: dict[str, Any] = {"current": sorted(current or ()), "heads": sorted(heads)}
    if not total:
        return ok(Layer.REVISION, "the project has no revisions yet", **data)
    upgrade = history.upgrade + ("s" if len(heads) > 1 else "")
    if not current:
        stop(
            Layer.REVISION,
            f"The database has no revision ({history.table} is "
            + ("missing" if current is None else "empty")
            + f"): none of the {total} migrations has run here.",
            upgrade,
            [f"heads: {names(heads)}"],
            **data,
        )
    unknown = current - set(history.parents)
    if unknown:
        return warning(
            Layer.REVISION,
            f"The database is at {names(unknown)}, which this code does not have: a newer release"
            " has migrated it, or it is another project's.",
            "Update the code, or check the database's name.",
            [f"heads: {names(heads)}"],
            **data,
        )
    behind = history.behind(current)
    if behind:
        stop(
            Layer.REVISION,
            f"The database is {behind} {'revision' if behind == 1 else 'revisions'} behind the"
            f" code: at {names(current)}, the head is {names(heads)}.",
            upgrade,
            **data,
        )
    return ok(Layer.REVISION, f"at the head, {names(current)}", **data)


def names(revisions: Iterable[str]) -> str:
    return ", ".join(sorted(revisions)) or "none"
