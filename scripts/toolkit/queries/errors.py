"""The one exception of this package."""

from pathlib import Path

from toolkit.project.facts import Problem
from toolkit.report.exits import Exit
from toolkit.report.masking import mask
from toolkit.report.quoting import word


class QueriesError(Exception):
    """Queries cannot be looked at; `problem` says why and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.message} {problem.remedy}".strip())
        self.problem = problem


def run_failed(message: str, remedy: str) -> QueriesError:
    """The command, or the application that was to answer requests, did not run."""
    return QueriesError(Problem("run-failed", mask(message), remedy, Exit.RUN_FAILED))


def nothing_seen(message: str, remedy: str) -> QueriesError:
    """It ran, and there is not one statement to judge."""
    return QueriesError(Problem("nothing-seen", mask(message), remedy, Exit.NOTHING_SEEN))


def database_away(command: str, code: Exit, root: Path) -> QueriesError:
    """It ran without its database: there is not one statement, and that is why."""
    what = "ended in the middle" if code is Exit.SERVER_GONE else "does not answer"
    return QueriesError(
        Problem(
            "database-away",
            mask(f"`{command}` ran, and sent no statement: its database {what}."),
            f"Start the database's server; test-connection.sh, in {word(root)}, finds"
            " the layer that is broken.",
            code,
        )
    )


def bad_requests(place: str, message: str, remedy: str) -> QueriesError:
    """A line of the requests file that is none. `message` repeats nothing of the line."""
    return QueriesError(Problem("bad-requests", f"{place}: {message}", remedy, Exit.USAGE))
