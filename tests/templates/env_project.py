"""A small project around the env.py template, driven as its user drives it."""

import asyncio
import os
import subprocess
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from projects import warm

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"

BASE = """
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    })
"""

IMPORTS = """
import datetime, decimal, enum, uuid
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from app.db.base_model import Base
"""


@dataclass
class EnvProject:
    root: Path
    url: str
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, root: Path, url: str, *, base: str = BASE) -> "EnvProject":
        for package in ("app", "app/db"):
            (root / package).mkdir(parents=True)
            (root / package / "__init__.py").touch()
        (root / "app/db/base_model.py").write_text(base)
        (root / "alembic/versions").mkdir(parents=True)
        (root / "alembic.ini").write_bytes((TEMPLATES / "alembic.ini").read_bytes())
        for name in ("env.py", "script.py.mako"):
            (root / "alembic" / name).write_bytes((TEMPLATES / name).read_bytes())
        project = cls(root, url)
        project.models("")
        return project

    def models(self, source: str) -> None:
        (self.root / "app/models.py").write_text(IMPORTS + textwrap.dedent(source))

    def edit_env(self, old: str, new: str) -> None:
        file = self.root / "alembic/env.py"
        source = file.read_text()
        assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in env.py"
        file.write_text(source.replace(old, new))

    def revision(self, number: int, upgrade: str, downgrade: str = "pass") -> None:
        """Write revision `number` by hand; it follows `number - 1`."""
        body = {"upgrade": upgrade, "downgrade": downgrade}
        lines = [
            "import sqlalchemy as sa",
            "from alembic import op",
            f"revision = 'r{number}'",
            f"down_revision = {f'r{number - 1}' if number > 1 else None!r}",
        ]
        for name, source in body.items():
            lines += [f"def {name}():", textwrap.indent(textwrap.dedent(source).strip(), "    ")]
        (self.root / f"alembic/versions/r{number}.py").write_text("\n".join(lines) + "\n")

    def environment(self) -> dict[str, str]:
        variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return (
            variables | {"DATABASE_URL": self.url, "PYTHONDONTWRITEBYTECODE": "1"} | self.variables
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [warm.python(), "-W", "error", *arguments],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def python(self, *arguments: str, fails: bool = False) -> str:
        if "PYTHONPATH" in self.variables:  # Python reads it at its start
            with self.start(*arguments) as process:
                output, _ = process.communicate(timeout=120)
            status = process.returncode
        else:
            status, output = warm.run(arguments, cwd=self.root, environment=self.environment())
        assert bool(status) is fails, f"{arguments}: {status}\n{output}"
        return output

    def alembic(self, *arguments: str, fails: bool = False) -> str:
        return self.python("-m", "alembic", *arguments, fails=fails)

    def script(self, source: str, *, fails: bool = False) -> str:
        """Run Python in the project, with an Alembic `config` at hand."""
        head = "from alembic import command\nfrom alembic.config import Config\n"
        head += "config = Config('alembic.ini')\n"
        (self.root / "run.py").write_text(head + textwrap.dedent(source))
        return self.python("run.py", fails=fails)

    def versions(self) -> list[Path]:
        return sorted((self.root / "alembic/versions").glob("*.py"))

    def autogenerate(self, message: str = "change") -> str:
        """The text of the one revision that autogenerate writes."""
        before = set(self.versions())
        output = self.alembic("revision", "--autogenerate", "-m", message)
        new = set(self.versions()) - before
        assert len(new) == 1, output
        return new.pop().read_text()

    def round_trip(self) -> None:
        """Up, down, up again; afterwards the database is what the models say."""
        for command in (["upgrade", "head"], ["downgrade", "base"], ["upgrade", "head"]):
            self.alembic(*command)
        output = self.alembic("check")
        assert "No new upgrade operations" in output

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements; the rows of the last one."""
        return asyncio.run(execute(self.url, *statements))


async def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    engine = create_async_engine(url, poolclass=NullPool)
    rows: list[tuple[object, ...]] = []
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            for statement in statements:
                result = await connection.execute(text(statement))
                rows = [tuple(row) for row in result] if result.returns_rows else []
    finally:
        await engine.dispose()
    return rows
