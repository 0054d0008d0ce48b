"""The one exception of this package."""

from toolkit.project.facts import Problem
from toolkit.report.exits import Exit
from toolkit.report.masking import mask


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


def bad_requests(place: str, message: str, remedy: str) -> QueriesError:
    """A line of the requests file that is none. `message` repeats nothing of the line."""
    return QueriesError(Problem("bad-requests", f"{place}: {message}", remedy, Exit.USAGE))
