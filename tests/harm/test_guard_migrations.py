"""env.py and revisions that go round SQLAlchemy: Alembic runs them, production is as it was."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harm.going_round import WAYS, project_of, sync_url
from harm.production import SHOP, Production
from toolkit.database.alembic_process import AlembicResult, run_alembic
from toolkit.database.scratch import Scratch, execute, open_scratch
from toolkit.database.urls import Kind
from toolkit.migration.situation import choose_setup, probe, server_url
from toolkit.project.facts import Project

# What SQLAlchemy does in a guarded process is the same whichever database it is; SQLite's
# second file has a test of its own.
pytestmark = pytest.mark.older_sqlalchemy_on("postgresql")


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, Scratch]]:
    """Where proofs run, each made when it is first asked for: of servers a private one."""
    with contextlib.ExitStack() as stack:

        class Places(dict[str, Scratch]):
            def __missing__(self, kind: Kind) -> Scratch:
                self[kind] = stack.enter_context(open_scratch(kind, server_url=None))
                return self[kind]

        yield Places()


@pytest.fixture
def scratch(dialect: Kind, places: dict[str, Scratch], production: Production) -> Iterator[Scratch]:
    """A database of its own for each test."""
    with contextlib.ExitStack() as stack:
        if dialect == "sqlite":
            yield stack.enter_context(open_scratch(dialect, server_url=None))
        else:
            url = stack.enter_context(places[dialect].another())
            yield replace(places[dialect], url=url)


def upgrade(project: Project, scratch: Scratch) -> AlembicResult:
    return run_alembic(project, ["upgrade", "head"], scratch, ini=project.root / "alembic.ini")


def tables(scratch: Scratch) -> list[str]:
    statement = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind = 'r'",
        "mysql": "SHOW TABLES",
    }[scratch.kind]
    return sorted(str(row[0]) for row in execute(scratch.url, statement))


@pytest.mark.parametrize("way", ["driver", "async driver", "thread", "fork"])
def test_a_revision_that_goes_round_sqlalchemy(
    way: str, production: Production, scratch: Scratch, tmp_path: Path
) -> None:
    project = project_of(tmp_path / "project", production, upgrade=WAYS[way])
    result = upgrade(project, scratch)
    assert result.error
    assert "wanted to" in result.message
    assert "raw.py:" in result.error["where"] or "0001.py:" in result.error["where"]


@pytest.mark.any_sqlalchemy
@pytest.mark.dialects("sqlite")
@pytest.mark.parametrize("way", ["child", "shell"])
def test_a_revision_that_starts_a_program(
    way: str, production: Production, scratch: Scratch, tmp_path: Path
) -> None:
    result = upgrade(project_of(tmp_path / "project", production, upgrade=WAYS[way]), scratch)
    assert result.message.startswith("migrations/versions/0001.py:")
    assert "wanted to start" in result.message


def test_a_refusal_that_a_revision_swallows_proves_nothing(
    production: Production, scratch: Scratch, tmp_path: Path
) -> None:
    lines = "import raw\ntry:\n    raw.harm()\nexcept Exception:\n    pass"
    result = upgrade(project_of(tmp_path / "project", production, upgrade=lines), scratch)
    assert result.error["type"] == "DatabaseRefused"
    assert result.message.startswith("raw.py:")


def test_an_engine_with_its_own_creator_never_connects(
    production: Production, scratch: Scratch, tmp_path: Path
) -> None:
    if production.dialect == "sqlite":
        connect = "sqlite3.connect(raw.FILE)"
    else:
        connect = (
            "psycopg.connect(raw.DSN)"
            if scratch.kind == "postgresql"
            else ("pymysql.connect(**raw.LOGIN)")
        )
    lines = (
        f"import raw, {connect.partition('.')[0]}\n"
        f"engine = sa.create_engine(raw.URL, creator=lambda: {connect})\n"
        "with engine.begin() as connection:\n    connection.execute(sa.text(raw.HARM))"
    )
    result = upgrade(project_of(tmp_path / "project", production, upgrade=lines), scratch)
    assert "wanted to" in result.message


def test_other_engines_of_a_revision_are_on_the_scratch(
    production: Production, scratch: Scratch, tmp_path: Path
) -> None:
    lines = (
        "import raw\n"
        "op.create_table('made', sa.Column('x', sa.Integer))\n"
        "with sa.create_engine(raw.URL).connect() as connection:\n"
        "    assert not sa.inspect(connection).has_table('customers')"
    )
    result = upgrade(project_of(tmp_path / "project", production, upgrade=lines), scratch)
    assert not result.error, result.message
    assert tables(scratch) == ["alembic_version", "made"]


def test_create_all_at_import_is_left_to_the_migrations(
    production: Production, scratch: Scratch, tmp_path: Path
) -> None:
    """Else Alembic would find the tables there, and nothing to generate."""
    models = (
        "\nfrom sqlalchemy import create_engine\n"
        f"engine = create_engine({sync_url(production)!r})\n"
        "Base.metadata.create_all(bind=engine)\n"
    )
    lines = "from models import Base\nBase.metadata.create_all(op.get_bind())"
    project = project_of(tmp_path / "project", production, models=models)
    ini = project.root / "alembic.ini"
    assert not run_alembic(project, ["current"], scratch, ini=ini).error
    assert tables(scratch) == []
    project = project_of(tmp_path / "project", production, models=models, upgrade=lines)
    result = upgrade(project, scratch)
    assert not result.error, result.message
    assert tables(scratch) == ["alembic_version", "items"]


def test_a_probe_sees_the_address_and_reaches_nothing(
    production: Production, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", sync_url(production))
    env = (
        "import os, raw\nassert 's3cret' not in repr(dict(os.environ))\n"
        "for harm in (raw.harm, raw.harm_async):\n"
        "    try:\n        harm()\n    except OSError as error:\n        print(error)\n"
    )
    project = project_of(tmp_path / "project", production, env=env)
    result = probe(project, choose_setup(project), {}, 60)
    assert result.stdout.count("wanted to") == 2, result.message
    seen = result.report["seen"]
    if production.dialect == "sqlite":
        assert seen["database"] == str(production.folder / f"{SHOP}.db")  # type: ignore[operator]
    else:
        made = server_url(seen, production.dialect)  # type: ignore[arg-type]
        assert made is not None
        assert made.render_as_string(hide_password=False) == sync_url(production)


def test_the_environment_of_a_command_has_no_address(
    production: Production, scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has the project's .env, nor its ini: whatever they are read with."""
    monkeypatch.setenv("DATABASE_URL", sync_url(production))
    lines = (
        "import configparser, os\nfrom pathlib import Path\n"
        "texts = [repr(dict(os.environ)), open(f'{ROOT}/.env').read(),\n"
        "         Path(ROOT, 'settings.ini').read_text()]\n"
        "found = configparser.ConfigParser()\nfound.read(f'{ROOT}/settings.ini')\n"
        "texts.append(found['db']['url'])\n"
        f"real = {sync_url(production).partition('://')[2]!r}\n"
        "assert not any(real in text for text in texts), texts\n"
        "assert all('://' in text for text in texts), texts\n"
        "with sa.create_engine(found['db']['url']).connect() as connection:\n"
        "    assert not sa.inspect(connection).has_table('customers')"
    )
    url = sync_url(production)
    ini = f"[db]\nurl = {url.replace('%', '%%')}\n"
    files = {".env": f"export DATABASE_URL='{url}' # here\n", "settings.ini": ini}
    project = project_of(tmp_path / "project", production, upgrade=lines, **files)
    result = upgrade(project, scratch)
    assert not result.error, result.message


@pytest.mark.dialects("sqlite")
@pytest.mark.parametrize(
    "attach",
    [
        "connection.exec_driver_sql(f\"ATTACH DATABASE '{CRM}' AS crm\")",
        "connection.exec_driver_sql('ATTACH DATABASE ? AS crm', (CRM,))",
        "connection.execute(sa.text('attach :file as crm').bindparams(file=CRM))",
        "connection.exec_driver_sql(f\"ATTACH 'file:{CRM}' AS crm\")",
    ],
)
def test_a_second_file_of_sqlite_is_a_copy(
    attach: str, production: Production, scratch: Scratch, tmp_path: Path
) -> None:
    """What the application had committed is there, in the WAL or not; the file is not."""
    lines = (
        f"import raw\nCRM = raw.FILE.replace('{SHOP}', 'harm_crm')\n"
        "connection = op.get_bind()\nconnection.connection.commit()\n"
        f"{attach}\n"
        "assert connection.exec_driver_sql('SELECT count(*) FROM crm.calls').scalar() == 3\n"
        "connection.exec_driver_sql('DROP TABLE crm.calls')\n"
        "connection.exec_driver_sql('DELETE FROM crm.customers')"
    )
    result = upgrade(project_of(tmp_path / "project", production, upgrade=lines), scratch)
    assert not result.error, result.message


@pytest.mark.dialects("sqlite")
@pytest.mark.older_sqlalchemy_on("sqlite")
def test_a_second_file_that_a_listener_attaches_lives_as_long_as_the_scratch(
    production: Production, scratch: Scratch, tmp_path: Path
) -> None:
    env = (
        "import sqlalchemy, raw\n"
        "@sqlalchemy.event.listens_for(sqlalchemy.Engine, 'connect')\n"
        "def attach(connection, record):\n"
        "    connection.execute('ATTACH DATABASE ? AS crm',"
        f" (raw.FILE.replace('{SHOP}', 'harm_crm'),))\n"
    )
    lines = "op.execute('DROP TABLE crm.calls')"
    project = project_of(tmp_path / "project", production, env=env, upgrade=lines)
    assert not upgrade(project, scratch).error
    folder = Path(str(scratch.url.database)).parent
    (copy,) = folder.glob("attached-*.db")
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    assert "customers" in names
    assert "calls" not in names
