"""Why nothing was set up."""

from collections.abc import Sequence

from toolkit.project.facts import Problem


class SetupError(Exception):
    """Ends a run; the project is as it was. `details` are lines to show with it."""

    def __init__(
        self, code: str, exit_code: int, message: str, remedy: str, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.problem = Problem(code, message, remedy, exit_code)
        self.details = tuple(details)
