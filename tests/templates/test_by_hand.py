"""Each template, copied by hand as its docstring says and nothing else, works at once (#16)."""

import ast
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from projects import warm

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
# Fixtures and Alembic have tests of their own (test_user_conftest.py, test_env_upgrade.py).
NAMES = sorted(
    path.name for path in TEMPLATES.glob("*.py") if path.name not in ("conftest.py", "env.py")
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOLD = re.compile(r"Copy (?:it|this file)\b[^.]*?(`\w+\.py`[^.]*?)(?:\.\s|\.$|:)", re.DOTALL)
# What a person does with the program of a docstring: start it, make its tables, ask it.
TRY = """
import asyncio, importlib, inspect, json, sys
import httpx

async def ask(module):
    app = module.app
    async with app.router.lifespan_context(app):
        metadata = module.Customer.metadata
        manager = app.state.database
        async with manager.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answers = {}
            for route, methods in app.openapi()["paths"].items():
                for method, said in methods.items():
                    needed = {one["name"]: "a@example.com" for one in said.get("parameters", [])}
                    answer = await client.request(method, route, params=needed)
                    answers[f"{method} {route}"] = answer.status_code
        return answers

told = {}
for name in sys.argv[1:]:
    module = importlib.import_module(f"{name}.program")
    if inspect.iscoroutinefunction(getattr(module, "main", None)):
        asyncio.run(module.main())
        told[name] = "ran"
    elif hasattr(module, "app"):
        told[name] = asyncio.run(ask(module))
    else:
        told[name] = "imported"
    if hasattr(module, "Customer") and told[name] == "ran":
        async def drop():
            own = importlib.import_module(f"{name}.session_manager")
            async with own.DatabaseSessionManager(own.DatabaseConfig.from_env()) as database:
                async with database.engine.begin() as connection:
                    await connection.run_sync(module.Customer.metadata.drop_all)
        asyncio.run(drop())
print(json.dumps(told))
"""


def docstring(name: str) -> str:
    return ast.get_docstring(ast.parse((TEMPLATES / name).read_text(encoding="utf-8"))) or ""


def program(name: str) -> str:
    found = BLOCK.search(docstring(name))
    assert found, f"{name} has no program in its docstring"
    return found[1]


def told_beside(name: str) -> set[str]:
    """The files that the sentence about copying names."""
    return {
        file
        for sentence in TOLD.findall(docstring(name))
        for file in re.findall(r"`(\w+\.py)`", sentence)
    }


def imported_by(source: str) -> set[str]:
    """The neighbours that a text imports."""
    return {
        f"{node.module}.py"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.level == 1
    }


def to_copy(name: str) -> set[str]:
    """The template, what its docstring says goes with it, and what its program imports."""
    wanted, open_ = set[str](), {name, *imported_by(program(name))}
    while open_:
        one = open_.pop()
        wanted.add(one)
        open_ |= told_beside(one) - wanted
    return wanted


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_names_what_its_template_imports(name: str) -> None:
    source = (TEMPLATES / name).read_text(encoding="utf-8")
    assert imported_by(source) <= told_beside(name)


@pytest.mark.older_sqlalchemy_on("postgresql")
@pytest.mark.dialects("sqlite", "postgresql")
def test_each_template_works_by_its_docstring_alone(
    tmp_path: Path, make_database: Callable[[str], str], dialect: str
) -> None:
    packages = []
    for name in NAMES:
        package = tmp_path / f"by_hand_{name.removesuffix('.py')}"
        package.mkdir()
        (package / "__init__.py").touch()
        for file in sorted(to_copy(name)):
            shutil.copyfile(TEMPLATES / file, package / file)
        (package / "program.py").write_text(program(name), encoding="utf-8")
        packages.append(package.name)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("DATABASE_")},
        "DATABASE_URL": make_database(dialect),
    }
    script = tmp_path / "try_them.py"
    script.write_text(TRY, encoding="utf-8")
    status, output = warm.run([str(script), *packages], cwd=tmp_path, environment=environment)
    assert status == 0, output
    told = json.loads(output.splitlines()[-1])
    assert set(told) == set(packages)
    answers = {package: told[package] for package in packages if isinstance(told[package], dict)}
    assert len(answers) >= 3
    for package, statuses in answers.items():
        assert set(statuses.values()) <= {200, 201}, (package, statuses)
    assert sum(one == "ran" for one in told.values()) >= 3
