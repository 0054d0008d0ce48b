"""The one exception of this package."""

from toolkit.project.facts import Problem


class DatabaseError(Exception):
    """A scratch database or an Alembic process cannot be had; `problem` says why and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.message} {problem.remedy}".strip())
        self.problem = problem
