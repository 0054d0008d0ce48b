"""One finding about queries: what is wrong, how surely it is known, and what cures it."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Layer(StrEnum):
    """Where a finding was seen; they are run and reported in this order."""

    CODE = "code"
    CAPTURE = "capture"
    STATEMENTS = "statements"
    CATALOG = "catalog"
    PLANS = "plans"


class Confidence(StrEnum):
    """How a finding is known, the surest first."""

    PROVED = "proved"
    """It happened, or is there: no threshold of ours turns it into something else."""
    MEASURED = "measured"
    """Numbers of this database say so; with other data they may not."""
    SUSPECTED = "suspected"
    """The source looks like it; nothing was run."""


@dataclass(frozen=True)
class Fix:
    """What to do, ready to be put in."""

    kind: str
    """`code` (Python), `ddl` (SQL), `model` (Python in a model), `setting` (of the server)."""
    text: str
    index: "Index | None" = None
    """Set where the fix is an index, for the Alembic revision of --fix."""
    loader: "Loader | None" = None
    """Set where the fix is an option of a select, for the patch of --fix."""


@dataclass(frozen=True)
class Index:
    """An index to make, or with `drop` one to take away."""

    name: str
    table: str
    expressions: tuple[str, ...]
    """Columns or SQL expressions, with their direction: `created_at DESC`."""
    schema: str | None = None
    include: tuple[str, ...] = ()
    where: str = ""
    method: str = ""
    opclass: str = ""
    """Of the first expression (`gin_trgm_ops`)."""
    unique: bool = False
    drop: bool = False


@dataclass(frozen=True)
class Loader:
    """An option for the select that loads the owners of a relationship."""

    file: str
    """Relative to the project's root, with `/`."""
    line: int
    """Where that select is run; it is built there or a few lines before."""
    entity: str
    """The class that it selects: `Post`."""
    option: str
    """`selectinload(Post.comments)`"""


@dataclass(frozen=True)
class QueryFinding:
    """One thing to look at."""

    rule: str
    """A stable name in kebab-case."""
    layer: Layer
    confidence: Confidence
    message: str
    """One sentence."""
    evidence: tuple[str, ...] = ()
    """What was seen, a line each: counts, milliseconds, a plan's node, a statement."""
    file: str | None = None
    """Relative to the project's root, with `/`."""
    line: int | None = None
    """Counts from 1."""
    function: str | None = None
    unit: str | None = None
    """The request (`GET /posts`) or test in which it was seen, or worst."""
    table: str | None = None
    shape: str | None = None
    """The statement with its values taken out."""
    fix: Fix | None = None
    verify: str = ""
    """The command that shows whether the fix works."""
    cost_ms: float = 0.0
    """What it costs a request or a call; sorts findings of one confidence."""

    @property
    def fingerprint(self) -> str:
        """The same finding in another run, also after lines moved: for --baseline."""
        parts = (self.rule, self.file, self.function, self.table, self.shape)
        index = self.fix.index.name if self.fix and self.fix.index else ""
        text = "\0".join([*(part or "" for part in parts), index])
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
