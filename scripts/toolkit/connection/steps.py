"""The layers between an application and its database, and what was found at each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from toolkit.report.exits import Exit


class Layer(StrEnum):
    """In the order in which they are looked at; each ends the run with a code of its own."""

    code: Exit
    about: str

    def __new__(cls, name: str, code: Exit, about: str) -> "Layer":
        member = str.__new__(cls, name)
        member._value_ = name
        member.code = code
        member.about = about
        return member

    SOURCE = "source", Exit.URL, "where the URL comes from"
    DRIVER = "driver", Exit.MISSING_DEPENDENCY, "the scheme's driver, greenlet, SQLAlchemy"
    URL = "url", Exit.URL, "host, port and user survive parsing; parameters"
    NAME = "name", Exit.NAME, "the host's addresses"
    NETWORK = "network", Exit.NETWORK, "TCP to each address, and who answers there"
    TLS = "tls", Exit.TLS, "offered, required, version, certificate"
    LOGIN = "login", Exit.LOGIN, "the user and the password"
    DATABASE = "database", Exit.DATABASE, "the database exists; a file is one"
    SERVER = "server", Exit.SERVER, "version, encoding, time zone, read-only, replica"
    PRIVILEGES = "privileges", Exit.PRIVILEGE, "rights on database, schema and tables"
    POOLER = "pooler", Exit.POOLER, "who is in between, its mode, shown by load"
    LATENCY = "latency", Exit.NETWORK, "of a connect and of a query, apart"
    POOL = "pool", Exit.CAPACITY, "the application's pool under concurrent check-outs"
    HEADROOM = "head-room", Exit.CAPACITY, "workers x (pool_size + max_overflow) and the server"
    CLOCK = "clock", Exit.SERVER, "the server's clock against this one"
    TIMEOUTS = "timeouts", Exit.SERVER, "what ends a statement, a wait, an idle connection"
    REVISION = "revision", Exit.REVISION, "the database's Alembic revision against the heads"


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Step:
    """What one layer showed. No text in it has a password."""

    layer: Layer
    status: Status
    message: str
    evidence: tuple[str, ...] = ()
    next: str | None = None
    """One command, or one change, that comes next."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Measured values, for programs."""
    code: Exit | None = None
    """The exit code where it is not the layer's own."""

    @property
    def exit_code(self) -> Exit:
        return self.layer.code if self.code is None else self.code


class Broken(Exception):
    """Ends the way down; `step` says where and why."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.message)
        self.step = step


def ok(layer: Layer, message: str, evidence: Sequence[str] = (), **data: Any) -> Step:  # noqa: ANN401
    return Step(layer, Status.OK, message, tuple(evidence), data=data)


def warning(
    layer: Layer,
    message: str,
    next: str,
    evidence: Sequence[str] = (),
    **data: Any,  # noqa: ANN401
) -> Step:
    return Step(layer, Status.WARNING, message, tuple(evidence), next, data)


def not_checked(layer: Layer, message: str) -> Step:
    return Step(layer, Status.NOT_CHECKED, message)


def stop(
    layer: Layer,
    message: str,
    next: str,
    evidence: Sequence[str] = (),
    *,
    code: Exit | None = None,
    **data: Any,  # noqa: ANN401
) -> NoReturn:
    """Raise Broken for this layer."""
    raise Broken(Step(layer, Status.BROKEN, message, tuple(evidence), next, data, code))


@dataclass(frozen=True)
class Verdict:
    """One thing that a layer has found wrong; the worst of a layer's makes its status."""

    status: Status
    message: str
    next: str
    evidence: str = ""


def judged(
    layer: Layer,
    fine: str,
    verdicts: Sequence[Verdict],
    evidence: Sequence[str],
    **data: Any,  # noqa: ANN401
) -> Step:
    """The step of a layer that was looked at in several ways. Raises Broken."""
    lines = [*evidence, *(one.evidence for one in verdicts if one.evidence)]
    if not verdicts:
        return ok(layer, fine, lines, **data)
    worst, *others = sorted(verdicts, key=lambda one: one.status is not Status.BROKEN)
    lines += [f"also: {one.message} ({one.next})" for one in others]
    if worst.status is Status.BROKEN:
        stop(layer, worst.message, worst.next, lines, **data)
    return warning(layer, worst.message, worst.next, lines, **data)


@dataclass(frozen=True)
class Report:
    """All steps, in the order of the layers."""

    steps: tuple[Step, ...]
    url: str | None
    """Without password; None where the URL cannot be shown safely."""

    @property
    def broken(self) -> Step | None:
        return next((step for step in self.steps if step.status is Status.BROKEN), None)

    @property
    def warnings(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.status is Status.WARNING)
