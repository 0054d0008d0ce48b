"""Suspicions from the source alone: rules over its syntax tree, nothing is run.

A rule that cannot tell stays silent: a false alarm costs more than a miss, because the
capture layer finds what is really there.
"""

from collections.abc import Callable, Iterator

from toolkit.project.facts import Project as ProjectFacts
from toolkit.queries.code.awaitable import awaitable_in_loop
from toolkit.queries.code.context import Context, Project
from toolkit.queries.code.engines import blocking_session, engine_for_each_call, values_in_text
from toolkit.queries.code.lazy import expired_after_commit, lazy_relationship, lazy_response
from toolkit.queries.code.loops import statement_in_loop
from toolkit.queries.code.models import Models
from toolkit.queries.code.routes import injected_functions
from toolkit.queries.code.rows import (
    counted_by_rows,
    leading_wildcard,
    list_without_limit,
    offset_pagination,
)
from toolkit.queries.code.sessions import Sessions
from toolkit.queries.code.sharing import shared_session
from toolkit.queries.code.source import Sources
from toolkit.queries.finding import QueryFinding

Rule = Callable[[Context], Iterator[QueryFinding]]

ASYNC_RULES: tuple[Rule, ...] = (
    statement_in_loop,
    awaitable_in_loop,
    lazy_relationship,
    lazy_response,
    expired_after_commit,
    shared_session,
    blocking_session,
)
RULES: tuple[Rule, ...] = (
    counted_by_rows,
    offset_pagination,
    list_without_limit,
    leading_wildcard,
    engine_for_each_call,
    values_in_text,
)


def findings_of(project: ProjectFacts) -> list[QueryFinding]:
    """What the application's source makes suspicious, by file and line.

    Tests, migrations and scripts that are no part of the application are left out, and so
    is a file that does not parse. Runs nothing.
    """
    sources = Sources(project)
    known = Project(sources, Models(sources), Sessions(sources), injected_functions(sources))
    found: list[QueryFinding] = []
    for function in sources.functions:
        context = Context(function, known)
        rules = (*ASYNC_RULES, *RULES) if function.is_async else RULES
        for rule in rules:
            found += rule(context)
    return sorted(found, key=lambda one: (one.file or "", one.line or 0, one.rule))
