"""Plans of the worst statements, and indexes tried on a scratch copy."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from toolkit.database.scratch import Wish
    from toolkit.queries.capture.record import Statement
    from toolkit.queries.plans.model import Limits, PlansReport


def measure_statements(
    url: "URL",
    statements: "Sequence[Statement]",
    *,
    limits: "Limits | None" = None,
    units: Mapping[int, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    wish: "Wish | None" = None,
) -> "PlansReport":
    """EXPLAIN the worst captured statements on `url`, and measure indexes on a scratch copy.

    `url` is only read, with time limits. `units` are the names of requests and tests by their
    numbers in the statements. `say` is told what is being done, a short line each. `wish` is
    about the server of the copy.
    Never raises for what a database answers: `skipped` and `notes` say what was left out.
    DatabaseError is raised where the server of the copy is not as it was.
    """
    # Imported when needed: the shared plain data of this package must not need SQLAlchemy.
    from toolkit.queries.plans.model import Limits  # noqa: PLC0415
    from toolkit.queries.plans.run import measure_statements as measure  # noqa: PLC0415

    return measure(url, statements, limits or Limits(), units or {}, say=say, wish=wish)
