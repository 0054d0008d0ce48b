"""Every fenced block of every document, run on each database."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy

from documents.reading import Block, read_blocks
from projects import warm

ROOT = Path(__file__).resolve().parents[2]
CARRY_OUT = Path(__file__).with_name("carry_out.py")
SQLALCHEMY = sqlalchemy.__version__.rpartition(".")[0]
REFERENCES = sorted((ROOT / "references").glob("*.md"))
# What a person reads before there is a database layer: it runs in a project without one.
README = ROOT / "README.md"
GUIDES = [ROOT / "SKILL.md", README]
TEMPLATES = [
    path for path in sorted((ROOT / "templates").glob("*.py")) if "```" in path.read_text()
]
# These show what the scripts say, not what SQLAlchemy does; so does README.md, whose Python is a
# model as SKILL.md has one.
OF_SCRIPTS = [
    path
    for path in REFERENCES
    if path.name in ("connections.md", "migration-review.md", "slow-queries.md")
]
OTHER_REFERENCES = [path for path in REFERENCES if path not in OF_SCRIPTS]
ON_THEIR_OWN = [
    path
    for path in OTHER_REFERENCES
    if any("postgresql" not in block.on for block in read_blocks(path))
]
ALIKE = [
    path
    for path in [*OTHER_REFERENCES, *TEMPLATES]
    if path not in ON_THEIR_OWN and read_blocks(path)
]
Run = Callable[[Path], None]
DOCUMENTS = [*GUIDES, *REFERENCES, *TEMPLATES]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def scaffolded(project: Path) -> None:
    """The package that `--scaffold app.db` makes, with the models of the examples."""
    package = project / "app" / "db"
    package.mkdir(parents=True)
    for init in (project / "app", package):
        (init / "__init__.py").touch()
    for template in (ROOT / "templates").glob("*.py"):
        if template.name not in ("env.py", "conftest.py"):
            shutil.copyfile(template, package / template.name)
    models = (ROOT / "examples" / "user_model.py").read_text(encoding="utf-8")
    models = re.sub(r"(?m)^import _setup\b.*\n", "", models)
    models = re.sub(
        r"(?m)^from (base_model|session_manager) import", r"from app.db.\1 import", models
    )
    models = models.partition('\nif __name__ == "__main__":')[0]
    (package / "models.py").write_text(models, encoding="utf-8")


def fresh(project: Path) -> None:
    """A FastAPI application without a database."""
    shutil.copytree(
        ROOT / "examples" / "demo" / "project",
        project,
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def carry_out(path: Path, blocks: list[Block], url: str, tmp_path: Path) -> tuple[list[int], str]:
    """The lines of the blocks that ran, and what was wrong with the one that did not."""
    project = tmp_path / "a project"
    guide = path in GUIDES
    (fresh if guide else scaffolded)(project)
    home = tmp_path / "home"
    (home / ".claude" / "skills").mkdir(parents=True)
    # A checkout may belong to another user than the one who runs the tests.
    (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n", encoding="utf-8")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")
    } | {
        "DATABASE_URL": url,
        "HOME": str(home),
    }
    order = {
        "package": "app.db" if path.suffix == ".py" else "",
        "database": not guide,
        "placeholders": {"<skill>": str(ROOT), "<this repository's URL>": str(ROOT)},
        "environment": {"PYTHONDONTWRITEBYTECODE": "1", **warm.environment()},
        "blocks": [vars(block) | {"path": name_of(block.path)} for block in blocks],
    }
    order_file, answer_file = tmp_path / "order.json", tmp_path / "answer.json"
    order_file.write_text(json.dumps(order), encoding="utf-8")
    status, output = warm.run(
        [str(CARRY_OUT), str(order_file), str(answer_file)],
        cwd=project,
        environment=environment,
        timeout=900,
    )
    assert status == 0, f"{name_of(path)}: {output}"
    answer = json.loads(answer_file.read_text(encoding="utf-8"))
    failed = answer["failed"]
    return answer["done"], f"{name_of(path)}:{failed}: {answer['error']}" if failed else ""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(GUIDES[0], marks=pytest.mark.older_sqlalchemy_on("postgresql")),
        *(pytest.param(path, marks=pytest.mark.any_sqlalchemy) for path in [README, *OF_SCRIPTS]),
    ],
    ids=name_of,
)
@pytest.mark.dialects("sqlite", "postgresql")
def test_every_block_about_the_scripts_runs(path: Path, run_blocks: Run) -> None:
    """What they have the scripts do on MySQL, the tests of the scripts show."""
    run_blocks(path)


@pytest.mark.parametrize("path", ON_THEIR_OWN, ids=name_of)
@pytest.mark.older_sqlalchemy_on("postgresql")
def test_every_block_runs_also_what_is_not_for_postgresql(path: Path, run_blocks: Run) -> None:
    run_blocks(path)


# On MySQL each second one; all in `make sweeps` (#10).
@pytest.mark.parametrize("path", ALIKE, ids=name_of)
@pytest.mark.dialects(
    "sqlite", "postgresql", pytest.param("mysql", marks=pytest.mark.sweep(every=2))
)
@pytest.mark.older_sqlalchemy_on("postgresql")
def test_every_block_runs(path: Path, run_blocks: Run) -> None:
    run_blocks(path)


@pytest.fixture
def run_blocks(
    dialect: str,
    make_database: Callable[[str], str],
    tmp_path: Path,
    count_runs: Callable[[str, str, int], None],
) -> Run:
    """Runs those blocks of a document that are for this database and SQLAlchemy."""

    def run(path: Path) -> None:
        blocks = [
            block
            for block in read_blocks(path)
            if dialect in block.on and block.sqlalchemy in ("", SQLALCHEMY)
        ]
        if not blocks:
            return
        done, wrong = carry_out(path, blocks, make_database(dialect), tmp_path)
        assert not wrong, wrong
        assert done == [block.line for block in blocks]
        count_runs("blocks", dialect, len(done))
        count_runs("commands", dialect, sum(block.language == "bash" for block in blocks))

    return run


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_no_block_is_left_out_everywhere(path: Path) -> None:
    for block in read_blocks(path):
        assert block.on
        assert block.sqlalchemy in ("", "2.0", "2.1"), block.place


def test_every_document_has_its_test() -> None:
    written = {path for path in ROOT.rglob("*.md") if not path.is_relative_to(ROOT / "tests")}
    hidden = {path for path in written if any(p.startswith(".") for p in path.parts)}
    # Without fences there is nothing to run.
    plain = {path for path in written if "```" not in path.read_text(encoding="utf-8")}
    made = {path for path in written if path.is_relative_to(ROOT / "demo")}
    assert written - hidden - plain - made <= set(DOCUMENTS)
