"""A project on more than one database: one revision is run, and compared, on each (#13).

What was guessed from drivers is told and refuses nothing: the other driver may be there for tests
that make their tables without a revision. What somebody has said counts as the first one does.
"""

import ast
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.database.errors import DatabaseError
from toolkit.database.urls import TITLES, Kind, kind_of, placeholder_url
from toolkit.migration.bench import Bench, open_bench
from toolkit.migration.examine import make_models
from toolkit.migration.install import rewrite
from toolkit.migration.missed import Missed
from toolkit.migration.missed.insert import add_to, find_function
from toolkit.migration.refusal import Refusal
from toolkit.migration.situation import Situation, probe, refuse_broken, shown, url_names
from toolkit.project.databases import (
    Databases,
    databases_of,
    dialect_names,
    setting,
    source_of,
    titles,
    with_setting,
)
from toolkit.project.facts import AlembicSetup, Project
from toolkit.report.exits import Exit

Say = Callable[[str], None]


@dataclass(frozen=True)
class Others:
    """The project's databases beside the one that env.py connects to, each at the head."""

    databases: Databases
    benches: tuple[Bench, ...] = ()
    notes: tuple[str, ...] = ()
    """Of those that were guessed: why they are not here."""

    @property
    def strict(self) -> bool:
        """Do they count, or are they told only?"""
        return not self.databases.guessed

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """All for which a revision is written."""
        return (self.databases.kinds[0], *(bench.scratch.kind for bench in self.benches))

    @property
    def names(self) -> tuple[str, ...]:
        return dialect_names(self.kinds)


def open_others(
    bench: Bench, given: Sequence[Kind], stack: ExitStack, say: Say
) -> tuple[Bench, Others]:
    """The bench, which then writes for all of them, and the others.

    Raises Refusal or DatabaseError where one that was named is of no use.
    """
    databases = databases_of(bench.project, bench.situation.setup, bench.scratch.kind, given)
    benches: list[Bench] = []
    notes: list[str] = []
    if databases.others:
        words = f"the project's databases: {titles(databases.kinds)} ({databases.why}"
        say(words + (", a guess: --dialects says it)" if databases.guessed else ")"))
    for kind in databases.others:
        try:
            benches.append(at_head(bench, kind, stack, say))
        except (Refusal, DatabaseError) as error:
            if not databases.guessed:
                raise
            first = error.problem.message.splitlines()[0]
            notes.append(f"not tried on {TITLES[kind]}: {first}")
            say(notes[-1])
    others = Others(databases, tuple(benches), tuple(notes))
    return replace(bench, dialects=others.names), others


def at_head(first: Bench, kind: Kind, stack: ExitStack, say: Say) -> Bench:
    """A scratch database of this kind that the migrations have built."""
    situation = connected_to(first, kind)
    bench = stack.enter_context(open_bench(first.project, situation, first.timeout, beside=True))
    say(f"scratch database: {bench.place}")
    made = make_models(bench, bench.schema())
    if made.error:
        raise Refusal(
            "other-database",
            Exit.PROOF_FAILED,
            f"{TITLES[kind]} cannot have the tables of these models: {made.message}",
            "Give the column a type that both have, such as sa.JSON().with_variant(JSONB(),"
            f" 'postgresql'), or take {TITLES[kind]} out of DIALECTS in env.py.",
        )
    if situation.head is not None:
        bench.expect(
            bench.alembic("upgrade", "heads"),
            f"The migrations that are there do not run on {TITLES[kind]}",
            f"Repair them for both, or take {TITLES[kind]} out of DIALECTS in env.py"
            " (--dialects says which there are).",
        )
    return bench


def connected_to(first: Bench, kind: Kind) -> Situation:
    """What env.py is like where its URL is one of this kind. Raises Refusal where it never is."""
    project, before = first.project, first.situation
    names = url_names(project)
    url = placeholder_url(kind, prefer_async=before.setup.is_async)
    environment = {**before.environment, **dict.fromkeys(names, url)}
    result = probe(project, before.setup, environment, first.timeout)
    refuse_broken(project, before.setup, result)
    seen = result.report.get("seen")
    if not seen or kind_of(seen["dialect"]) != kind:
        raise Refusal(
            "other-database",
            Exit.PROOF_FAILED,
            f"{shown(before.setup.env, project.root)} does not connect to {TITLES[kind]} when"
            f" {', '.join(names)} {'is' if len(names) == 1 else 'are'} set to such a URL.",
            "Let it take its URL from the environment, or leave that database out of --dialects.",
        )
    return replace(before, kind=kind, server=None, environment=environment, notes=())


def only_on(kind: Kind) -> str:
    """The line that begins what only this database gets."""
    names = dialect_names((kind,))
    test = f"== {names[0]!r}" if len(names) == 1 else f"in {names!r}"
    return f"if op.get_context().dialect.name {test}:".replace("'", '"')


def only_there(missed: Sequence[Missed], kind: Kind) -> list[Missed]:
    """With lines that nothing else runs: each database's own say what it lacks."""

    def lines(given: Sequence[str]) -> tuple[str, ...]:
        return (only_on(kind), *(f"    {line}" for line in given)) if given else ()

    return [
        replace(
            one,
            upgrade_lines=lines(one.upgrade_lines),
            downgrade_lines=lines(one.downgrade_lines),
        )
        for one in missed
    ]


def merged(text: str, rest: str, kind: Kind) -> str:
    """The draft, and behind an `if` what Alembic found to be left on another database."""
    for function, first in (("upgrade", False), ("downgrade", True)):
        body = statements(rest, function)
        if body:
            lines = [only_on(kind), *(f"    {line}" if line else "" for line in body)]
            text = add_to(text, function, lines if first else [], [] if first else lines)
    return with_imports_of(text, rest)


def statements(source: str, function: str) -> list[str]:
    """The lines of its body, without their indentation; none for `pass`."""
    found = find_function(ast.parse(source), function).body
    lines = source.splitlines()
    work = [
        one
        for one in found
        if not isinstance(one, ast.Pass)
        and not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
    ]
    if not work:
        return []
    indent = work[0].col_offset
    return [line[indent:] for line in lines[work[0].lineno - 1 : work[-1].end_lineno]]


def with_imports_of(text: str, other: str) -> str:
    """With the imports that only the other has."""
    have = {ast.unparse(one) for one in imports_in(text)}
    missing = [line for one in imports_in(other) if (line := ast.unparse(one)) not in have]
    if not missing:
        return text
    lines = text.splitlines()
    end = max(one.end_lineno or 0 for one in imports_in(text))
    return "\n".join([*lines[:end], *missing, *lines[end:]]) + "\n"


def imports_in(source: str) -> list[ast.Import | ast.ImportFrom]:
    body = ast.parse(source).body
    return [one for one in body if isinstance(one, ast.Import | ast.ImportFrom)]


def remember(project: Project, setup: AlembicSetup, kinds: Sequence[Kind]) -> str:
    """Write them into env.py, if it has the setting; what was done, or is left to do."""
    source = source_of(setup)
    line = setting(kinds)
    changed = with_setting(source, line)
    where = shown(setup.env, project.root)
    if changed is None:
        return f"to be remembered, {where} needs the line: {line.strip()}"
    if changed == source:
        return ""
    rewrite(Path(setup.env), changed)
    return f"{where} remembers the databases: {titles(kinds)}"
