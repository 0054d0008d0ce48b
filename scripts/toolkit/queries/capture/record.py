"""What was captured while the application ran, as plain values.

The worker in the application's process writes them as JSON, a line each; everything
else in this package reads them here. Parameters may be secrets: they serve EXPLAIN and
are never printed.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Frame:
    """A place in the project's own code."""

    file: str
    """Relative to the project's root, with `/`."""
    line: int
    function: str


@dataclass(frozen=True)
class Unit:
    """Something whose statements belong together: a request, a test, or the rest."""

    number: int
    kind: str
    """`request`, `test` or `other`."""
    name: str
    """`GET /posts/{post_id}` (the route, not the path), or the test's id."""
    ms: float
    status: int | None = None
    """Of a request's answer."""
    test: str | None = None
    """The test that sent the request."""
    error: str | None = None
    """The exception that ended it: its type and first line, without secrets."""
    process: int = 0
    """Which of the processes (workers of pytest-xdist) it ran in."""
    ended: bool = True
    """False where the process was stopped in the middle of it."""


@dataclass(frozen=True)
class Statement:
    """One execution on a cursor."""

    unit: int
    sql: str
    """As the driver got it."""
    shape: str
    """The same without values, comments and lengths of IN lists: what N+1 groups by."""
    frames: tuple[Frame, ...]
    """The project's frames, the innermost first; at most 6; empty outside of its code."""
    ms: float
    at: float
    """Milliseconds since the unit began."""
    rows: int | None
    """Rows that were fetched, or changed; None where the driver does not say."""
    many: int
    """Sets of parameters (executemany); 1 for a plain execution."""
    parameters: Any
    """As JSON can hold them; of executemany only the first set."""
    loader: str | None
    """`Post.author` where loading that relationship (or `Post.body`, deferred) issued it."""
    connection: int
    transaction: int
    """Counts up over the run; statements of one transaction have the same."""
    engine: int = 0
    number: int = 0
    """Counts up in the order of execution within a process."""
    origin: str = ""
    """Which part of the ORM issued it: `lazy`, `eager` (selectinload and the like),
    `deferred` (a column), `polymorphic` (a subclass's column that a select of the base class
    leaves out), `expired` (a column after a commit), `refresh`; or nothing."""
    to_many: bool | None = None
    """Of `loader`: is that relationship a collection?"""
    entity: str | None = None
    """The mapped class whose rows it is for: `Post`; of `polymorphic` the base class."""
    batch: bool = False
    """One of several sets of parameters that were given at once."""
    flush: int = 0
    """Which flush of its unit issued it; 0 for none."""
    activation: int = 0
    """In a test: which call of the application's code issued it. 0 in a request."""
    streamed: bool = False
    """Read from a cursor on the server, a part at a time."""
    in_session: bool = False
    """Sent by an ORM session, not by a connection alone."""


@dataclass(frozen=True)
class Event:
    """Something else that was seen."""

    kind: str
    """`missing-greenlet`, `held-connection`, `left-open`, `cartesian-product`,
    `engine-created`, `blocking-driver`, `commit`, `rollback`."""
    unit: int
    frames: tuple[Frame, ...]
    data: dict[str, Any] = field(default_factory=dict)
    """Of the kind; the function in capture/worker that writes it documents it."""


@dataclass(frozen=True)
class Engine:
    """An engine that the application used."""

    number: int
    dialect: str
    driver: str
    url: str
    """With its password: never printed."""


@dataclass(frozen=True)
class Capture:
    """A whole run."""

    command: str
    """What was run, as a person would type it."""
    exit_status: int
    seconds: float
    engines: tuple[Engine, ...]
    units: tuple[Unit, ...]
    statements: tuple[Statement, ...]
    events: tuple[Event, ...]
    output_tail: str = ""
    """The end of what the command printed, without secrets."""
    notes: tuple[str, ...] = ()
    """What a reader has to know: failed tests, a time limit, requests answered with 404."""
