"""No address and no password of a database in what unread code is told, and yet it loads."""

import os
import re
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from projects.layouts import write
from toolkit.fence.addresses import NO_PASSWORD, NOWHERE, Hiding
from toolkit.fence.environment import fenced
from toolkit.project import read_project
from toolkit.project.prove import import_models

pytestmark = pytest.mark.any_sqlalchemy

SECRET, HOST = "tr0ub4dor", "db.internal"
SPELLINGS = [
    f"postgresql+asyncpg://app:{SECRET}@{HOST}:6543/shop?ssl=require",
    f"PostgreSQL://app:{SECRET}@{HOST}/shop",
    f"postgres://app:{SECRET}@{HOST}",
    f"'postgresql://app:{SECRET}@{HOST}/shop'",
    f"postgresql://app:a@{SECRET}@{HOST}/shop",
    f"postgresql://app:a/{SECRET}@{HOST}/shop",
    f"postgresql://app:a?{SECRET}@{HOST}/shop",
    f"postgresql+psycopg://app@/shop?host={HOST}&password={SECRET}",
    f"postgresql://{HOST},b.{HOST}:5433/shop?user=app&password={SECRET}",
    f"jdbc:postgresql://{HOST}/shop?user=app&password={SECRET}",
    f"mysql+aiomysql://app:{SECRET}@{HOST}:3306/shop?charset=utf8mb4",
    f"mariadb://app:{SECRET}@{HOST}/shop?unix_socket=/run/{HOST}/sock",
    f"redis://:{SECRET}@{HOST}:6379/0",
    f"mongodb+srv://app:{SECRET}@{HOST}/shop",
    f"host={HOST} dbname=shop user=app password='{SECRET}'",
    f"dbname=shop password={SECRET} host={HOST} port=5432",
    f"Server={HOST};Database=shop;Uid=app;Pwd={SECRET};",
    f'{{"default": "postgres://app:{SECRET}@{HOST}/shop", "debug": true}}',
    f"postgres://app:{SECRET}@{HOST}/a,postgres://app:{SECRET}@b.{HOST}/b",
]


@pytest.mark.parametrize("value", SPELLINGS)
def test_every_spelling_of_an_address(value: str) -> None:
    hidden = Hiding("/ours.db").environment({"WHATEVER": value})["WHATEVER"]
    assert SECRET not in hidden
    assert HOST not in hidden
    look = Hiding("/ours.db", passwords_only=True)
    seen = look.environment({"WHATEVER": value})["WHATEVER"]
    assert SECRET not in seen
    assert HOST in seen
    assert any(SECRET in real for real in look.passwords.values())


PARTS = {
    "POSTGRES_SERVER": HOST, "POSTGRES_PASSWORD": SECRET, "PGHOST": HOST, "PGPASSWORD": SECRET,
    "DB_HOST": HOST, "DB_PASS": SECRET, "DBPASSWORD": SECRET, "MYSQL_PWD": SECRET,
    "DATABASE__HOSTNAME": HOST, "database__password": SECRET, "APP_DB__HOST": f"{HOST}:5432",
    "SQL_SERVER": HOST, "DB_HOST_REPLICA": HOST, "DB_PASSWORD_2": SECRET,
    "MARIADB_ROOT_PASSWORD": SECRET, "dbHost": HOST,
}  # fmt: skip
KEPT = {
    "POSTGRES_PORT": "5432", "POSTGRES_USER": "app", "POSTGRES_DB": "shop", "API_KEY": "abc",
    "SENTRY_DSN": "https://key@sentry.example/1", "HOST": "0.0.0.0", "DB_PASSWORD_REQUIRED": "true",
    "POSTGRES_PASSWORD_FILE": "/run/secrets/pw", "SMTP_PASSWORD": "mail", "DB_ECHO": "false",
    "DB_PASSWORD_LENGTH": "12", "DATABASE_SERVER_VERSION": "15.3", "PGUSER": "postgres",
    "GREETING": "the host=here is no address", "HTTP_PROXY": "http://proxy:3128",
    "RDS_PASSWORD": "", "CLOUDSQL_SOCKET": "none",
}  # fmt: skip


def test_parts_of_an_address_by_their_names() -> None:
    for name, value in PARTS.items():  # alone: nothing else says what the value is
        found = Hiding("/ours.db").environment({name: value})[name]
        assert SECRET not in found, name
        assert HOST not in found, name
    hidden = Hiding("/ours.db").environment(PARTS | KEPT)
    assert {name: hidden[name] for name in KEPT} == KEPT
    assert hidden["APP_DB__HOST"] == f"{NOWHERE}:5432"


def test_the_same_value_under_a_name_that_says_nothing() -> None:
    variables = {
        "DATABASE_URL": f"postgresql://a:{SECRET}@{HOST}/x",
        "PW_1": SECRET,
        "PRIMARY": HOST,
    }
    hidden = Hiding("/ours.db").environment(variables)
    assert hidden["PW_1"] != SECRET
    # Where the password is the user's name, the user is still the user.
    same = {"DATABASE_URL": "postgresql://postgres:postgres@db/x", "PGUSER": "postgres"}
    assert Hiding("/ours.db").environment(same)["PGUSER"] == "postgres"
    assert Hiding("/ours.db").environment({"PGPASSWORD": "123456"})["PGPASSWORD"] != "123456"
    assert hidden["PRIMARY"] == NOWHERE
    # Where the application listens is no place of a database's.
    here = {"DATABASE_URL": "postgresql://app@localhost/x", "API_HOST": "localhost"}
    assert Hiding("/ours.db").environment(here)["API_HOST"] == "localhost"


def test_a_hidden_url_keeps_its_form() -> None:
    before = make_url(SPELLINGS[0])
    after = make_url(Hiding("/ours.db").text(SPELLINGS[0]))
    assert after.set(host=before.host, password=before.password) == before
    assert after.host == NOWHERE
    # Of what is looked up by a name server, a name: an address is refused.
    named = Hiding("/ours.db").text(f"mongodb+srv://app:{SECRET}@{HOST}/shop")
    assert make_url(named).host == "db.hidden.invalid"


def test_the_lines_of_an_env_file_keep_their_form() -> None:
    before = (
        f"# of {HOST}\nexport DB_PASSWORD = \"{SECRET} # 1\"  # why\nNAME='a # b' # c\nEMPTY=\n"
        f"DATABASE_URL=postgresql://app@{HOST}/shop # here\nPGPASSWORD=plain # too\n"
    )
    hidden = before.replace(f"{SECRET} # 1", NO_PASSWORD).replace(f"@{HOST}", f"@{NOWHERE}")
    assert Hiding("/ours.db").lines(before) == hidden.replace("plain", f"{NO_PASSWORD}1")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sqlite+aiosqlite:///./app.db", "sqlite+aiosqlite:////ours.db"),
        ("sqlite:////srv/app.db?timeout=5", "sqlite:////ours.db?timeout=5"),
        ("sqlite+aiosqlite://", "sqlite+aiosqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
    ],
)
def test_files_of_sqlite(before: str, after: str) -> None:
    assert Hiding("/ours.db").text(before) == after


def test_passwords_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe's answer is an address that can be used."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:p%40ss%2Fword@db/shop")
    child = fenced(tmp_path, tmp_path, {}, look=True)
    password = str(make_url(child.environment["DATABASE_URL"]).password)
    assert child.passwords[password] == "p@ss/word"


def test_what_clients_look_for_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGSERVICE", "PGPASSFILE", "PGSYSCONFDIR", "SCRATCH_DATABASE_URL"):
        monkeypatch.setenv(name, "/somewhere")
    environment = fenced(tmp_path, tmp_path, {}).environment
    assert "/somewhere" not in environment.values()
    assert environment["PGHOST"] == NOWHERE
    assert not Path(environment["PGPASSFILE"]).exists()


SETTINGS = {
    "requirements.txt": "",
    "main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n",
    ".env": f"POSTGRES_SERVER={HOST}\nPOSTGRES_USER=app\nPOSTGRES_PASSWORD='{SECRET}' # ours\n"
    f"REDIS_URL=redis://:{SECRET}@{HOST}:6379/0\nSECRET_KEY=signs\n",
    "models.py": f"""\
import os
from dotenv import dotenv_values, load_dotenv
from pydantic import PostgresDsn, RedisDsn, computed_field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.ext.asyncio import create_async_engine


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", env_nested_delimiter="__")
    POSTGRES_SERVER: str
    POSTGRES_USER: str
    POSTGRES_PASSWORD: str
    REDIS_URL: RedisDsn
    SECRET_KEY: str

    @computed_field
    @property
    def url(self) -> PostgresDsn:
        return PostgresDsn.build(
            scheme="postgresql+asyncpg", username=self.POSTGRES_USER, host=self.POSTGRES_SERVER,
            password=self.POSTGRES_PASSWORD, path="shop",
        )


settings = Settings()
assert settings.SECRET_KEY == "signs"
engine = create_async_engine(str(settings.url))
load_dotenv(override=True)
said = [str(settings.url), str(settings.REDIS_URL), str(dict(os.environ)), str(dotenv_values())]
assert not [text for text in said if "{SECRET}" in text or "{HOST}" in text], said
""",
}


def test_a_template_with_validated_settings_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastAPI's full-stack template, with all that it has in its .env."""
    for name in list(os.environ):
        if re.match("POSTGRES|PG|DATABASE|REDIS", name):
            monkeypatch.delenv(name)
    write(tmp_path, SETTINGS)
    report = import_models(read_project(tmp_path), ["models"])
    assert report.ok, report.errors


SHADOWS = {
    f"{name}.py": "MINE = True\n" for name in ("platform", "secrets", "types", "signal", "json")
}


def test_modules_of_the_project_with_names_of_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As below plain Alembic: what was imported before is there, the rest is the project's."""
    models = (
        "import secrets, sqlalchemy.ext.asyncio, json\nassert secrets.MINE\njson.dumps(1)\n"
        "from sqlalchemy.orm import DeclarativeBase\nclass Base(DeclarativeBase): pass\n"
    )
    files = {"requirements.txt": "", "main.py": SETTINGS["main.py"], "models.py": models}
    write(tmp_path, files | SHADOWS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = import_models(read_project(tmp_path), ["models"])
    assert report.ok, report.errors
