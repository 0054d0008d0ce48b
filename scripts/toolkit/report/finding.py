"""One finding of a review: what is wrong, how it is known, and what to do instead."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a finding means for the running service, the worst first."""

    DATA_LOSS = "data-loss"
    """Rows or values are gone, and no downgrade brings them back."""
    FAILS = "fails"
    """The database refuses it, always or as soon as there are rows."""
    BLOCKS = "blocks"
    """Rewrites or scans a table while others can't read or write it."""
    BREAKS_OLD_CODE = "breaks-old-code"
    """The version of the service that still runs during the deploy stops working."""
    IRREVERSIBLE = "irreversible"
    """The downgrade does not lead back to the schema before."""
    DRIFT = "drift"
    """After the migrations the schema is not the one that the models describe."""
    BRIEF_LOCK = "brief-lock"
    """A strong lock for a moment: harmless with a lock_timeout, a queue without."""
    STYLE = "style"
    """Works; there is a better way."""

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(type(self)).index(self)


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know about one revision."""

    rule: str
    """A stable name in kebab-case; `# migration-review: allow[rule] reason` names it."""
    verdict: Verdict
    message: str
    """One sentence."""
    evidence: tuple[str, ...] = ()
    """What was seen: a lock, a statement, the database's own words."""
    table: str | None = None
    revision: str | None = None
    file: str | None = None
    line: int | None = None
    """Counts from 1."""
    rewrite: str = ""
    """The safe form as Python that can be put into revisions; empty when there is none."""
    source: str = "trace"
    """Who says so: trace, operations, catalog, round-trip or squawk."""
