"""The one exception that reading a project raises."""

from pathlib import Path

from toolkit.project.facts import Problem, Project
from toolkit.report.exits import Exit
from toolkit.report.quoting import word


class ProjectError(Exception):
    """The project cannot be read without a decision or a repair by its owner."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.message}\n{problem.remedy}")
        self.problem = problem


def no_project(directory: Path) -> ProjectError:
    """Nothing below `directory` imports fastapi."""
    return ProjectError(
        Problem(
            code="no-project",
            message=f"no FastAPI project in {directory}: no Python file there imports fastapi",
            remedy="run it in the project, or name the folder with --project DIR",
            exit_code=Exit.NO_PROJECT,
        )
    )


def ambiguous(code: str, what: str, candidates: list[str], flag: str) -> ProjectError:
    """Several candidates for one thing; `flag` (with its metavariable) settles it."""
    return ProjectError(
        Problem(
            code=code,
            message=f"{what}: {', '.join(map(word, candidates))}",
            remedy=f"choose one with {flag}",
            exit_code=Exit.AMBIGUOUS,
        )
    )


def require_decided(project: Project, *names: str) -> None:
    """Raise ProjectError where `base`, `app` or `models` is needed and only a person can say."""
    for name in names:
        if problem := project.undecided.get(name):
            raise ProjectError(problem)


def chosen(project: Project, *subjects: str) -> list[str]:
    """What was taken where there were others, and why."""
    return [line for subject in subjects for line in project.choices.get(subject, ())]


def bad_option(flag: str, message: str, remedy: str) -> ProjectError:
    """The value given for `flag` cannot be right for this project."""
    return ProjectError(
        Problem(
            code="bad-option",
            message=f"{flag}: {message}",
            remedy=remedy,
            exit_code=Exit.USAGE,
        )
    )


def unreadable_models(lines: list[str]) -> ProjectError:
    """Source that may define models is not understood, so the list of tables would be short."""
    return ProjectError(
        Problem(
            code="unreadable-models",
            message="a file that may have database models cannot be read: " + "; ".join(lines),
            remedy="repair it (or run under the Python version that it is written for); without "
            "it, a migration would drop its tables",
            exit_code=Exit.BROKEN_PROJECT,
        )
    )
