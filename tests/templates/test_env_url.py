"""env.py finds the database: every way to write a URL, no password anywhere."""

import configparser
from pathlib import Path

import pytest
from sqlalchemy import make_url

from templates.env_project import TEMPLATES, EnvProject

DRIVER = "print('driver:', op.get_bind().dialect.driver)"


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> EnvProject:
    project = EnvProject.create(tmp_path / "project", database_url)
    project.revision(1, DRIVER)
    return project


def written(url: str, drivername: str, **parts: object) -> str:
    return make_url(url).set(drivername=drivername, **parts).render_as_string(hide_password=False)


def without_modules(project: EnvProject, *modules: str) -> None:
    """Let the project's interpreter find none of these modules."""
    lines = ["import sys", f"sys.modules.update(dict.fromkeys({modules!r}))"]
    (project.root / "sitecustomize.py").write_text("\n".join(lines))
    project.variables["PYTHONPATH"] = str(project.root)


@pytest.mark.parametrize(
    ("scheme", "driver"),
    [
        ("postgres", "asyncpg"),
        ("postgresql", "asyncpg"),
        ("postgresql+asyncpg", "asyncpg"),
        ("postgresql+psycopg", "psycopg"),
        ("mysql", "aiomysql"),
        ("mariadb", "aiomysql"),
        ("mariadb+aiomysql", "aiomysql"),
        ("mysql+pymysql", "pymysql"),
        ("sqlite", "aiosqlite"),
        ("sqlite+pysqlite", "pysqlite"),
    ],
)
def test_schemes(tmp_path: Path, make_database, scheme: str, driver: str) -> None:
    dialect = {"postgres": "postgresql", "mariadb": "mysql"}.get(
        scheme.partition("+")[0], scheme.partition("+")[0]
    )
    url = make_database(dialect)
    project = EnvProject.create(tmp_path / "project", url)
    project.revision(1, DRIVER)
    project.url = written(url, scheme)
    assert f"driver: {driver}\n" in project.alembic("upgrade", "head")
    assert "r1 (head)" in project.alembic("current")
    assert "CREATE TABLE alembic_version" in project.alembic("upgrade", "head", "--sql")


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize(
    ("scheme", "missing", "driver"),
    [
        ("postgres", ("asyncpg",), "psycopg"),
        ("postgresql", ("greenlet",), "psycopg"),
        ("sqlite", ("aiosqlite",), "pysqlite"),
        ("mysql", ("aiomysql", "asyncmy"), "pymysql"),
    ],
)
def test_falls_back_to_a_synchronous_driver(
    tmp_path: Path, make_database, scheme: str, missing: tuple[str, ...], driver: str
) -> None:
    url = make_database({"postgres": "postgresql"}.get(scheme, scheme))
    project = EnvProject.create(tmp_path / "project", written(url, scheme))
    project.revision(1, DRIVER)
    without_modules(project, *missing)
    assert f"driver: {driver}\n" in project.alembic("upgrade", "head")


@pytest.mark.dialects("postgresql")
def test_no_driver_at_all_is_one_line(project: EnvProject) -> None:
    project.url = written(project.url, "postgresql")
    without_modules(project, "asyncpg", "psycopg", "psycopg2")
    output = project.alembic("upgrade", "head", fails=True)
    assert "no driver for postgresql is installed: one of ('asyncpg', 'psycopg'" in output
    assert "Traceback" not in output


@pytest.mark.dialects("postgresql")
def test_libpq_parameters(project: EnvProject) -> None:
    query = {
        "sslmode": "prefer",
        "connect_timeout": "5",
        "application_name": "a name",
        "options": "-c statement_timeout=54321",
        "channel_binding": "prefer",
        "gssencmode": "disable",
    }
    project.url = written(project.url, "postgres", query=query)
    shown = "{name: op.get_bind().exec_driver_sql('SHOW ' + name).scalar() for name in names}"
    project.revision(1, f"names = 'application_name', 'statement_timeout'\nprint({shown})")
    output = project.alembic("upgrade", "head")
    assert "{'application_name': 'a name', 'statement_timeout': '54321ms'}" in output
    project.url = written(project.url, "postgres", query={"sslmode": "verify-full"})
    refused = project.alembic("current", fails=True)
    assert "SSL" in refused or "root.crt" in refused or "certificate" in refused, refused


PASSWORD = "p%40@ss:w/o?r#d &'x"


@pytest.mark.dialects("postgresql", "mysql")
def test_seed_38_any_password_and_never_shown(project: EnvProject, dialect: str) -> None:
    quoted = PASSWORD.replace("'", "''")
    user = "u_" + project.root.parent.name[-20:].replace("-", "_")
    if dialect == "postgresql":
        create = (
            f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{quoted}'",
            f"DROP OWNED BY {user}; DROP ROLE {user}",
        )
    else:
        quoted = quoted.replace(":", r"\:")
        project.execute(f"CREATE USER {user} IDENTIFIED BY '{quoted}'")
        create = f"GRANT ALL ON *.* TO {user}", f"DROP USER {user}"
    admin = project.url
    project.execute(create[0])
    try:
        project.url = written(admin, dialect, username=user, password=PASSWORD)
        project.alembic("upgrade", "head")
        project.url = written(admin, dialect, username=user, password=PASSWORD + "wrong")
        output = project.alembic("upgrade", "head", fails=True)
        project.url = written(admin, dialect, username=user, password=PASSWORD, port=1)
        output += project.alembic("upgrade", "head", fails=True)
        for part in ("ss:w", "wrong", "p%25", "r#d", "r%23d"):
            assert part not in output.replace("wrong password", ""), output
    finally:
        project.url = admin
        project.execute(*create[1].split("; "))


@pytest.mark.dialects("postgresql")
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sec@ret@host/db",
        "postgresql://me:sec/ret@ho@st:5432/db",
        "postgresql://me:secret@host:port/db",
        "sec:ret",
        "",
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(project: EnvProject, url: str) -> None:
    project.url = url
    output = project.alembic("upgrade", "head", fails=True)
    assert "the database URL cannot be parsed: percent-encode" in output
    assert "sec" not in output.replace("seconds", "")
    assert "Traceback" not in output


@pytest.mark.dialects("sqlite")
def test_a_missing_variable_and_a_failing_setting(project: EnvProject) -> None:
    project.edit_env('os.environ["DATABASE_URL"]', 'os.environ["NOT_THERE"]')
    output = project.alembic("upgrade", "head", fails=True)
    assert "the database URL cannot be read: KeyError: 'NOT_THERE'" in output
    project.edit_env('os.environ["NOT_THERE"]', "str(int('postgresql://me:se@cret@host/db'))")
    output = project.alembic("upgrade", "head", fails=True)
    assert "the database URL cannot be read: ValueError" in output
    assert "cret" not in output


def test_seed_43_the_ini_has_no_url_no_hook_and_the_settings_that_matter() -> None:
    ini = configparser.ConfigParser(defaults={"here": "HERE"})
    ini.read(TEMPLATES / "alembic.ini")
    assert ini["alembic"]["script_location"] == "HERE/alembic"
    assert ini["alembic"]["prepend_sys_path"] == "."
    assert ini["alembic"]["path_separator"] == "os"
    assert ini["alembic"]["timezone"] == "UTC"
    assert "sqlalchemy.url" not in ini["alembic"]
    assert not ini.has_section("post_write_hooks")
