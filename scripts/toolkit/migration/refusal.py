"""Why no migration was written."""

from collections.abc import Sequence

from toolkit.project.facts import Problem


class Refusal(Exception):
    """Ends a run without a file. `details` are lines such as files and imports to add."""

    def __init__(
        self, code: str, exit_code: int, message: str, remedy: str, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.problem = Problem(code, message, remedy, exit_code)
        self.details = tuple(details)
