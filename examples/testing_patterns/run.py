"""A user's test-suite on templates/conftest.py: built as a project, run, and explained.

    python examples/testing_patterns/run.py [DATABASE_URL] [-n WORKERS] [--into DIRECTORY]

`project/` is a small FastAPI application and the helpers of its tests, `suite/` the tests. This
puts them together with the templates in a temporary folder (or in DIRECTORY, which stays, to be
read and copied from), runs pytest there, and prints what each test shows.

The database is a new SQLite file, or DATABASE_URL, whose name must have "test" as a word. The suite
leaves its tables there, as every suite does whose next run should be quick, and no rows; with
-n, each worker has a database of its own, which is dropped.

What it costs: a test, one transaction, a savepoint for each session in it, and one statement that
looks for rows left behind: with one request 10 ms on SQLite, 30 ms on PostgreSQL (two busy cores).
A run, the migrations once. A worker, seconds to start, and on PostgreSQL the copy of a database.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE.parent.parent / "templates"

# Added to the copy of conftest.py. Not `-p tests.fixtures` in pyproject.toml: that would import
# the application before a coverage plugin starts to look.
PLUGINS = '\npytest_plugins = ["tests.fixtures", "tests.parallel"]\n'


def build(project: Path) -> None:
    """Put the project together, in a folder that does not exist."""
    shutil.copytree(HERE / "project", project, ignore=shutil.ignore_patterns("__pycache__"))
    database = project / "app" / "db"
    database.mkdir()
    (database / "__init__.py").write_text('"""The database layer."""\n', encoding="utf-8")
    for template, folder in (
        ("base_model.py", database),
        ("database_url.py", database),
        ("database_engine.py", database),
        ("session_manager.py", database),
        ("health.py", database),
        ("alembic.ini", project),
        ("env.py", project / "alembic"),
        ("script.py.mako", project / "alembic"),
        ("conftest.py", project / "tests"),
    ):
        shutil.copy(TEMPLATES / template, folder)
    with (project / "tests" / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(PLUGINS)
    # They get their prefix only here. Where this skill lies within a project, that project's
    # pytest would collect test_*.py, as it would load a conftest.py.
    for test in (HERE / "suite").glob("*.py"):
        shutil.copy(test, project / "tests" / f"test_{test.name}")


def run_pytest(
    project: Path, *arguments: str, url: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the suite, on a new SQLite file if there is no URL."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env=environment(os.environ, url),
        capture_output=True,
        text=True,
        check=False,
    )


def environment(surroundings: Mapping[str, str], url: str | None) -> dict[str, str]:
    # DATABASE_URL may be that of real data; PYTEST_* would be those of a pytest around this one.
    ignored = ("DATABASE_", "TEST_DATABASE_URL", "PYTEST_")
    kept = {name: v for name, v in surroundings.items() if not name.startswith(ignored)}
    return kept | ({"TEST_DATABASE_URL": url} if url else {})


def explained(project: Path, output: str) -> list[str]:
    """A heading for each file of tests, a line for each test."""
    lines = []
    for path in sorted((project / "tests").glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines += ["", f"{ast.get_docstring(tree)} ({path.name})"]
        for node in tree.body:
            if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
                result = "|".join(sorted(set(outcomes(output, path.name, node.name))))
                lines.append(f"  {result or 'not run':<7} {ast.get_docstring(node)}")
    return lines


def outcomes(output: str, file: str, test: str) -> list[str]:
    found = re.findall(rf"^([A-Z]+) tests/{file}::{test}\b", output, re.MULTILINE)
    return ["ok" if word == "PASSED" else word for word in found]


def main() -> int:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("url", nargs="?", metavar="DATABASE_URL")
    parser.add_argument("-n", type=int, metavar="WORKERS", help="needs pytest-xdist")
    parser.add_argument("--into", type=Path, metavar="DIRECTORY", help="build it here, and keep it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = (arguments.into or Path(folder) / "project").absolute()
        if project.exists():
            sys.exit(f"error: {project} exists already")
        build(project)
        workers = ["-n", str(arguments.n)] if arguments.n else []
        ran = run_pytest(project, *workers, url=arguments.url)
        if ran.returncode:
            print(ran.stdout, ran.stderr, sep="\n")
        print("\n".join(explained(project, ran.stdout)))
        print("\n" + (ran.stdout.strip().splitlines() or ["pytest printed nothing"])[-1])
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
