"""The one exception that reading a project raises."""

import os
from pathlib import Path

from toolkit.project.facts import AlembicSetup, Problem, Project
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
    """Raise ProjectError where one of `Project.undecided` is needed, and only a person can say."""
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


def moved_scripts(setup: AlembicSetup, env: Path, root: Path) -> Problem:
    """The ini names a folder without env.py, and `env` lies in one that no ini names."""
    ini, given = setup.ini.relative_to(root), os.path.relpath(setup.script_location, root)
    found = env.parent.relative_to(root)
    location = f"%(here)s/{os.path.relpath(env.parent, setup.ini.parent)}"
    return Problem(
        code="moved-scripts",
        message=f"{ini} leads to {given}, where no env.py is; {found} has one that no ini names",
        remedy=f"if that is the one, write script_location = {location} in {ini}; if it is none"
        " of this database's, remove or rename it",
        exit_code=Exit.BROKEN_PROJECT,
    )


def unreadable_ini(ini: Path, why: str) -> Problem:
    """Alembic reads an ini as UTF-8, to the letter."""
    return Problem(
        code="unreadable-ini",
        message=f"Alembic cannot read {ini}: {why}",
        remedy="save it as UTF-8 without a byte order mark, then run this again",
        exit_code=Exit.BROKEN_PROJECT,
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
