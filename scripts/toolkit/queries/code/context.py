"""What every rule is given, and how it says what it found."""

import ast
from dataclasses import dataclass
from functools import cached_property

from toolkit.project.metadata import library_name
from toolkit.queries.code.models import Models
from toolkit.queries.code.queries import Held, Queries
from toolkit.queries.code.routes import Endpoint, endpoint_of
from toolkit.queries.code.sessions import Sessions
from toolkit.queries.code.source import Function, Sources
from toolkit.queries.finding import Confidence, Fix, Layer, Loader, QueryFinding


@dataclass(frozen=True)
class Project:
    """The indexes of a whole project."""

    sources: Sources
    models: Models
    sessions: Sessions
    injected: set[str]
    """Full names of functions that are dependencies."""


class Context:
    """One function, with everything that a rule may ask about it."""

    def __init__(self, function: Function, project: Project) -> None:
        self.function = function
        self.project = project

    @cached_property
    def queries(self) -> Queries:
        return Queries(self.function, self.project.models, self.project.sessions)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return self.queries.nodes

    @cached_property
    def calls(self) -> list[ast.Call]:
        return [node for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def endpoint(self) -> Endpoint | None:
        return endpoint_of(self.function)

    def full_name(self, node: ast.expr | None) -> str:
        return self.project.sources.full_name(self.function.module, node)

    def is_of_library(self, node: ast.expr, *names: str) -> bool:
        """Is it one of these of SQLAlchemy's or SQLModel's?"""
        library, name = library_name(self.full_name(node))
        return bool(library) and name in names

    def only_value(self, name: str) -> ast.expr | None:
        """What a variable holds, where it is assigned once and nobody else has it."""
        variable = self.queries.variables.get(name)
        if variable is None or variable.opaque or len(variable.values) != 1:
            return None
        return variable.values[0][1]

    def is_session(self, node: ast.expr) -> bool:
        """An asynchronous session, by its type or its name."""
        return self.project.sessions.looks_like(self.function, node)

    def finding(
        self,
        rule: str,
        node: ast.expr | ast.stmt,
        message: str,
        fix: str,
        *,
        kind: str = "code",
        table: str | None = None,
        more: tuple[str, ...] = (),
        load: tuple[Held, str] | None = None,
    ) -> QueryFinding:
        """A suspicion about the line of `node`, which is its evidence.

        `load`: what a select of this function gives, and the option that it should have.
        """
        loader = None
        if load is not None and load[0].select is not None:
            held, option = load
            loader = Loader(self.function.file, held.line, held.model.name, option)
        line = self.project.sources.line(self.function.module, node.lineno)
        return QueryFinding(
            rule=rule,
            layer=Layer.CODE,
            confidence=Confidence.SUSPECTED,
            message=message,
            evidence=(line, *more),
            file=self.function.file,
            line=node.lineno,
            function=self.function.name,
            table=table,
            fix=Fix(kind, fix, loader=loader),
        )
