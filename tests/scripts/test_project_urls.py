"""Where the URL comes from: the engine's own source first, never a value."""

from pathlib import Path

import pytest

from projects.layouts import write
from toolkit.connection.source import from_project
from toolkit.connection.steps import Broken
from toolkit.project import Project, ProjectError, read_project
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
ENGINE = "from sqlalchemy.ext.asyncio import create_async_engine\n"
SETTINGS = """\
import os
from functools import lru_cache
from pydantic import PostgresDsn, SecretStr, computed_field
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    database_url: str
    db_dsn: SecretStr
    redis_url: str = ""
    test_database_url: str = ""
    db_user: str = "u"
    db_host: str = "h"

    @computed_field
    @property
    def sqlalchemy_uri(self) -> str:
        return f"postgresql+asyncpg://{self.db_user}@{self.db_host}/x"

    def build_db_url(self) -> str:
        return self.sqlalchemy_uri


@lru_cache
def get_settings() -> Settings:
    return Settings()


settings = Settings()
"""


def read(root: Path, files: dict[str, str], **options: str) -> Project:
    write(root, {"requirements.txt": "fastapi\n", "app/__init__.py": "", "app/main.py": MAIN})
    write(root, files)
    return read_project(root, **options)


def best(project: Project) -> tuple[str, str]:
    return project.urls[0].kind, project.urls[0].reference


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from app.config import settings\nengine = create_async_engine(settings.database_url)",
         "app.config:settings.database_url"),
        ("from app import config\n"
         "engine = create_async_engine(str(config.settings.sqlalchemy_uri))",
         "app.config:settings.sqlalchemy_uri"),
        ("from app.config import get_settings\n"
         "engine = create_async_engine(get_settings().build_db_url())",
         "app.config:get_settings().build_db_url()"),
        ("from app.config import settings\n"
         "engine = create_async_engine(settings.db_dsn.get_secret_value())",
         "app.config:settings.db_dsn.get_secret_value()"),
        ("from app.config import get_settings\n\ndef make():\n    settings = get_settings()\n"
         "    url = settings.database_url\n    return create_async_engine(url)",
         "app.config:get_settings().database_url"),
        ("from app.config import settings\n\ndef make(url, echo=False):\n"
         "    return create_async_engine(url, echo=echo)\n\n"
         "engine = make(url=settings.database_url)",
         "app.config:settings.database_url"),
        ("from app.config import settings\n\ndef make(url=settings.database_url):\n"
         "    return create_async_engine(url)\n\nengine = make()",
         "app.config:settings.database_url"),
        ("from app.config import settings\n\ndef make(url=settings.sqlalchemy_uri):\n"
         "    return create_async_engine(url)\n\nengine = make(settings.database_url)",
         "app.config:settings.database_url"),
        ("from elsewhere import url_of\nkind = 'main'\nengine = create_async_engine(url_of(kind))",
         "app.db:engine.url"),
        ("import os\nURLS = {1: os.environ['A_URL']}\nengine = create_async_engine(URLS[1])",
         "app.db:URLS[1]"),
        ("from app.config import settings\n\nclass Manager:\n    def __init__(self, url: str):\n"
         "        self._url = url\n\n    def open(self):\n"
         "        self.engine = create_async_engine(self._url)\n\n"
         "manager = Manager(settings.database_url)",
         "app.config:settings.database_url"),
        ("from app.config import Settings\n\nclass Manager:\n"
         "    def __init__(self, config: Settings):\n"
         "        self.config = config\n\n    def open(self):\n"
         "        return create_async_engine(self.config.database_url)\n\n"
         "def start():\n    return Manager(Settings())",
         "app.config:Settings().database_url"),
        ("import os\nengine = create_async_engine(os.environ['SQLALCHEMY_DATABASE_URL'])",
         "env:SQLALCHEMY_DATABASE_URL"),
        ("import os\nDSN = os.getenv('DB_URL')\nengine = create_async_engine(DSN)", "env:DB_URL"),
        ("import os\nDSN = os.getenv('DB_URL', 'sqlite+aiosqlite:///x')\n"
         "engine = create_async_engine(DSN)", "app.db:DSN"),
        ("from decouple import config\nengine = create_async_engine(config('DATABASE_URL'))",
         "env:DATABASE_URL"),
        ("from decouple import config as read\nengine = create_async_engine(read('DATABASE_URL'))",
         "env:DATABASE_URL"),
        ("from app.config import settings\n\ndef get_url(*, test: bool = False) -> str:\n"
         "    return f'postgresql+asyncpg://{settings.db_user}@{settings.db_host}/x'\n\n"
         "def make(*, test: bool = False):\n    return create_async_engine(get_url(test=test))\n",
         "app.db:get_url()"),
        ("from app.config import settings\n"
         "URL = f'postgresql+asyncpg://{settings.db_user}@{settings.db_host}/x'\n"
         "engine = create_async_engine(URL)", "app.db:URL"),
        ("from app.config import settings\n"
         "engine = create_async_engine(f'postgresql+asyncpg://{settings.db_user}@h/x')",
         "app.db:engine.url"),
        ("from sqlalchemy import URL\nengine = create_async_engine(URL.create('sqlite+aiosqlite'))",
         "app.db:engine.url"),
    ],
)  # fmt: skip
def test_what_the_engine_uses_comes_first(tmp_path: Path, source: str, expected: str) -> None:
    project = read(tmp_path, {"app/config.py": SETTINGS, "app/db.py": f"{ENGINE}{source}\n"})
    assert best(project)[1] == expected
    assert project.notes == ()


def test_url_built_in_place_is_said_honestly(tmp_path: Path) -> None:
    source = (
        f"{ENGINE}from app.config import settings\n\ndef make():\n"
        "    return create_async_engine(f'postgresql+asyncpg://{settings.db_user}@h/x')\n"
    )
    project = read(tmp_path, {"app/config.py": SETTINGS, "app/db.py": source})
    assert len(project.notes) == 1
    assert project.notes[0].startswith("app/db.py:5 ")
    assert "--url-from" in project.notes[0]


def test_settings_without_an_engine(tmp_path: Path) -> None:
    project = read(tmp_path, {"app/config.py": SETTINGS})
    references = [source.reference for source in project.urls]
    assert "app.config:settings.database_url" in references
    assert "app.config:settings.db_dsn.get_secret_value()" in references
    assert "app.config:settings.build_db_url()" in references
    assert "app.config:get_settings().sqlalchemy_uri" in references
    assert not any("redis" in reference or "test_" in reference for reference in references)


def test_engines_of_tests_come_last(tmp_path: Path) -> None:
    project = read(
        tmp_path,
        {
            "app/config.py": SETTINGS,
            "app/a_test_tools.py": f"{ENGINE}from app.config import settings\n"
            "engine = create_async_engine(settings.test_database_url)\n",
            "app/db.py": f"{ENGINE}from app.config import settings\n"
            "engine = create_async_engine(settings.database_url)\n",
        },
    )
    assert best(project)[1] == "app.config:settings.database_url"
    assert project.urls[-1].reference == "app.config:settings.test_database_url"


def test_env_py_is_asked_when_nothing_else_tells(tmp_path: Path) -> None:
    project = read(
        tmp_path,
        {
            "alembic.ini": "[alembic]\nscript_location = %(here)s/migrations\n",
            "migrations/env.py": "from alembic import context\nimport os\n\n"
            "def get_url():\n    return os.getenv('MY_PLACE')\n\n"
            "context.config.set_main_option('sqlalchemy.url', get_url().replace('%', '%%'))\n",
        },
    )
    assert best(project) == ("environment", "env:MY_PLACE")


def test_names_in_env_files_but_never_values(tmp_path: Path) -> None:
    project = read(
        tmp_path,
        {
            ".env": "# note\nexport DATABASE_URL='postgresql+asyncpg://u:hunter2secret@h/x'\n"
            "REDIS_URL=redis://x\nSECRET=hunter2secret\n"
        },
    )
    assert [source.reference for source in project.urls] == ["env:DATABASE_URL"]
    assert project.urls[0].line == 2
    assert project.schemes == ("postgresql+asyncpg",)
    assert "hunter2" not in repr(project)


def test_an_example_of_an_env_file_is_not_the_database_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    example = {".env.example": "DATABASE_URL=postgresql+asyncpg://u@h/x\n"}
    assert read(tmp_path, example).scheme is None
    used = read(tmp_path, {".env": "DATABASE_URL=sqlite+aiosqlite:///x.db\n"})
    assert used.scheme == "sqlite+aiosqlite"


def test_hard_coded_url_is_had_by_its_name(tmp_path: Path) -> None:
    source = (
        f"{ENGINE}URL = 'mysql+aiomysql://u:hunter2secret@h/x'\nengine = create_async_engine(URL)\n"
    )
    project = read(tmp_path, {"app/db.py": source})
    assert best(project) == ("settings", "app.db:URL")
    assert project.urls[1].kind == "literal"
    assert project.urls[1].reference.endswith("app/db.py:2")
    assert "hunter2" not in repr(project)


def test_url_from_comes_first(tmp_path: Path) -> None:
    project = read(tmp_path, {"app/config.py": SETTINGS}, url_from="env:OTHER_URL")
    assert best(project) == ("environment", "env:OTHER_URL")
    project = read(tmp_path, {}, url_from="app.config:get_settings().build_db_url()")
    assert best(project) == ("settings", "app.config:get_settings().build_db_url()")


@pytest.mark.parametrize(
    "text", ["DATABASE_URL", "env:", "postgresql://u:hunter2secret@h/x", "app:"]
)
def test_url_from_of_a_wrong_form(tmp_path: Path, text: str) -> None:
    with pytest.raises(ProjectError) as refused:
        read(tmp_path, {}, url_from=text)
    assert refused.value.problem.exit_code == Exit.USAGE
    assert "hunter2" not in str(refused.value)


SWITCH = f"""{ENGINE}import os


def get_url(*, with_database: bool = True) -> str:
    name = "shop" if with_database else "postgres"
    return f"postgresql+asyncpg://{{os.environ['SHOP_USER']}}@localhost/{{name}}"


"""


@pytest.mark.parametrize("made", ["engine = ", "def make():\n    return "])
def test_the_engines_call_of_a_url_function_counts(tmp_path: Path, made: str) -> None:
    """A tool that throws a switch of the function connects to another database."""
    tool = "async def create():\n    return create_async_engine(get_url(with_database=False))\n"
    project = read(
        tmp_path,
        {
            "app/cli.py": f"{ENGINE}from app.db import get_url\n\n\n{tool}",
            "app/db.py": f"{SWITCH}{made}create_async_engine(get_url())\n",
        },
    )
    called = [one.reference for one in project.urls if "get_url" in one.reference]
    assert called == ["app.db:get_url()"]
    assert best(project)[1] == "app.db:get_url()"


WRAPPED = {
    "a function": (
        "def connected(url):\n    return create_async_engine(url, echo=False)\n",
        "engine = connected(get_url())\n",
        "return db.connected(db.get_url(with_database=False))",
    ),
    "a class": (
        "class Database:\n    def __init__(self, url):\n"
        "        self.engine = create_async_engine(url)\n",
        "database = Database(get_url())\n",
        "return db.Database(url=db.get_url(with_database=False))",
    ),
    "a method": (
        "class Database:\n    def init(self, url):\n"
        "        self.engine = create_async_engine(url)\n",
        "database = Database()\n\n\ndef start():\n    database.init(get_url())\n",
        "return db.Other().init(db.get_url(with_database=False))",
    ),
    "other settings": (
        "class Settings:\n    url = get_url()\n\n\nclass Other(Settings):\n    pass\n\n\n"
        "def connected(settings):\n    return create_async_engine(settings.url)\n",
        "settings = Settings()\nengine = connected(settings)\n",
        "return db.connected(db.Other())",
    ),
}


@pytest.mark.parametrize("form", WRAPPED)
def test_also_where_something_of_the_projects_makes_the_engine(form: str, tmp_path: Path) -> None:
    wrapped, made, tool = WRAPPED[form]
    project = read(
        tmp_path,
        {
            "app/cli.py": f"from app import db\n\n\nasync def create():\n    {tool}\n",
            "app/db.py": f"{SWITCH}{wrapped}\n\n{made}",
        },
    )
    used = [one.reference for one in project.urls if one.in_use]
    assert used == ["app.db:settings.url" if form == "other settings" else "app.db:get_url()"]


def test_of_two_functions_that_make_engines_neither_is_the_applications(tmp_path: Path) -> None:
    wrapped, _, _ = WRAPPED["a function"]
    two = "".join(f"def {one}():\n    return connected(URLS.{one})\n\n\n" for one in ("a", "b"))
    names = "class URLS:\n    a = get_url()\n    b = get_url(with_database=False)\n\n\n"
    project = read(tmp_path, {"app/db.py": f"{SWITCH}{names}{wrapped}\n\n{two}"})
    assert {one.reference for one in project.urls if one.in_use} == {
        "app.db:URLS.a",
        "app.db:URLS.b",
    }


@pytest.mark.parametrize(
    ("config", "seconds", "words"),
    [
        ('raise RuntimeError("the vault is shut")\n', 60.0, "the vault is shut"),
        ("", 0.001, "took longer than"),
    ],
)
def test_a_helpers_url_is_no_answer_for_a_setting_that_fails(
    tmp_path: Path, config: str, seconds: float, words: str
) -> None:
    helper = "def embedded():\n    return create_async_engine('sqlite+aiosqlite:///:memory:')\n"
    files = {
        "app/config.py": config + SETTINGS,
        "app/db.py": f"{ENGINE}from app.config import settings\n"
        "engine = create_async_engine(settings.database_url)\n",
        "app/an_embedded.py": f"{ENGINE}\n\n{helper}",
    }
    project = read(tmp_path, files)
    with pytest.raises(Broken) as broken:
        from_project(project, None, seconds)
    assert ("too long" if seconds < 1 else "no value here") in broken.value.step.message
    assert any(words in line for line in broken.value.step.evidence)


def test_an_engines_own_url_is_its_answer(tmp_path: Path) -> None:
    """Also where its module does not import."""
    url = "sqlite+aiosqlite:///shop.db"
    source = f"{ENGINE}import not_installed_here\nengine = create_async_engine({url!r})\n"
    # A folder's name is no expression.
    given = from_project(read(tmp_path / "shop (1", {"app/db.py": source}), None, 60.0)
    assert given.text == url


PROVIDERS = """\
from pydantic_settings import BaseSettings


class Provider(BaseSettings):
    db_url: str = "postgresql://mealie@db/mealie"


class Settings(BaseSettings):
    shop_file: str = ""

    @property
    def db_url(self) -> str:
        return self.shop_file or Provider().db_url


settings = Settings()
"""
TAKES = """\
from sqlalchemy import create_engine
from app.config import settings

engine = create_engine(settings.db_url)
"""
INI = "[alembic]\nscript_location = migrations\n"


@pytest.mark.parametrize(
    "files", [{"app/db.py": TAKES}, {"alembic.ini": INI, "migrations/env.py": TAKES}]
)
def test_what_is_in_use_is_no_other_database_than_its_parts(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that settings choose from has a URL, too, and nobody connects there (#12)."""
    monkeypatch.setenv("SHOP_FILE", "sqlite:///shop.db")
    project = read(tmp_path, {"app/config.py": PROVIDERS, **files})
    assert len(project.urls) > 1
    assert from_project(project, None, 60.0).text == "sqlite:///shop.db"
