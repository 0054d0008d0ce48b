"""DatabaseConfig, normalize_url, and what importing the template does."""

import asyncio
import inspect
import os
import ssl
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import aiomysql
import asyncpg
import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import OperationalError

import session_manager
from database_url import ConfigurationError, normalize_url
from session_manager import DatabaseConfig, DatabaseSessionManager, build_engine, require_fastapi

TEMPLATES = Path(session_manager.__file__).parent
ASYNCPG = "postgresql+asyncpg://u:p@h/d"
HARD_PASSWORD = "s%4@1:x/y#z?&="


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgres://u:p@h/d", "postgresql+asyncpg"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql+asyncpg"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg"),
        ("mysql://u:p@h/d", "mysql+aiomysql"),
        ("mysql+pymysql://u:p@h/d", "mysql+aiomysql"),
        ("mariadb://u:p@h/d", "mariadb+aiomysql"),
        ("sqlite:///app.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///app.db", "sqlite+aiosqlite"),
    ],
)
def test_url_gets_its_async_driver(given: str, driver: str):
    url, _ = normalize_url(given)
    assert url.drivername == driver
    assert url.database == ("app.db" if "sqlite" in given else "d")


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("sslmode=require", {"ssl": "require"}),
        ("ssl=prefer", {"ssl": "prefer"}),
        ("connect_timeout=5", {"timeout": 5.0}),
        ("connect_timeout=0", {"timeout": None}),
        ("application_name=api", {"server_settings": {"application_name": "api"}}),
        (
            "options=-c%20statement_timeout%3D5000%20-csearch_path%3Da,b%20--work-mem%3D4MB",
            {
                "server_settings": {
                    "statement_timeout": "5000",
                    "search_path": "a,b",
                    "work_mem": "4MB",
                }
            },
        ),
        (r"options=-c%20datestyle%3DISO,%5C%20MDY", {"server_settings": {"datestyle": "ISO, MDY"}}),
        ("channel_binding=prefer", {}),
        (
            "command_timeout=7&statement_cache_size=0",
            {"command_timeout": 7.0} | {"statement_cache_size": 0},
        ),
    ],
)
def test_libpq_parameters_become_asyncpgs(query: str, arguments: dict[str, object]):
    url, connect_args = normalize_url(f"postgresql://u:p@h/d?{query}")
    assert connect_args == arguments
    assert not url.query


@pytest.mark.parametrize(
    ("given", "host", "arguments"),
    [
        ("postgresql://u:p@h/d?gssencmode=prefer&client_encoding=UTF-8&sslsni=1", "h", {}),
        ("postgresql://u:p@h/d?keepalives=1&keepalives_idle=3&tcp_user_timeout=9", "h", {}),
        (
            "postgresql://u:p@h/d?pgbouncer=true",
            *("h", {"statement_cache_size": 0, "prepared_statement_cache_size": 0}),
        ),
        (
            "postgresql://u:p@h/d?options=endpoint%3Dep-1%20-c%20jit%3Doff",
            *("h", {"server_settings": {"options": "endpoint=ep-1", "jit": "off"}}),
        ),
        ("postgresql://u:p@h/d?sslnegotiation=direct&ssl=true", "h", {"ssl": "require"}),
        (
            "postgresql://u:p@one,two:6432/d?target_session_attrs=read-write",
            *(["one", "two"], {}),
        ),
        # A parameter counts for more than the place before it, as in libpq.
        ("postgresql://u:p@h/other?user=v&password=q&dbname=d&host=g", "g", {}),
        ("mysql://u:p@h/d?ssl-mode=DISABLED", "h", {}),
        ("mysql://u:p@h/d?ssl_mode=preferred&charset=utf8mb4", "h", {}),
    ],
)
def test_hosted_urls_are_translated(given: str, host: object, arguments: dict[str, object]):
    """What the driver then gets is what it knows (#14)."""
    url, found = normalize_url(given)
    taken = url.get_dialect()().create_connect_args(url)[1]
    if "negotiation" in given:
        assert found.pop("direct_tls") is True
    assert (taken["host"], found) == (host, arguments)
    if host == ["one", "two"]:
        assert taken["port"] == [5432, 6432]
    if host == "g":
        assert (url.username, url.password, url.database) == ("v", "q", "d")
    connect = asyncpg.connect if "postgresql" in given else aiomysql.connect
    known = {*inspect.signature(connect).parameters, "prepared_statement_cache_size"}
    assert taken.keys() | found.keys() <= known
    pooled = DatabaseConfig(given).pgbouncer
    assert pooled is ("pgbouncer" in given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("postgresql://u:s3cret@h/d?gssencmode=require", "cannot encrypt by GSSAPI"),
        ("postgresql://u:s3cret@h/d?client_encoding=latin1", "always speaks UTF8"),
        ("postgresql://u:s3cret@h/d?sslcert=/no.pem", "sslcert or sslkey cannot be read"),
        ("postgresql://u:s3cret@h/d?schema=public", "has schema, which asyncpg does not know"),
        ("mysql://u:s3cret@h/d?ssl-mode=SOME", "ssl-mode must be one of DISABLED"),
        ("mysql://u:s3cret@h/d?ssl-ca=/no.pem", "ssl-ca cannot be read: No such file"),
        ("mysql://u:s3cret@h/d?useSSL=true", "has useSSL, which aiomysql does not know"),
    ],
)
def test_what_cannot_be_translated_is_refused_in_one_line(given: str, words: str):
    with pytest.raises(ConfigurationError, match=words) as caught:
        normalize_url(given)
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)


def test_mysqls_tls_words_make_a_context():
    import certifi

    for query, verified, hostname in (
        ("ssl-mode=REQUIRED", False, False),
        (f"ssl-mode=VERIFY_CA&ssl-ca={certifi.where()}", True, False),
        (f"ssl-mode=VERIFY_IDENTITY&ssl-ca={certifi.where()}", True, True),
        ("sslaccept=strict", True, True),
        (f"ssl-ca={certifi.where()}", True, True),
        (f"ssl-ca={certifi.where()}&ssl_check_hostname=false", True, False),
        ("ssl=true", False, False),
    ):
        context = normalize_url(f"mysql://u:p@h/d?{query}")[1]["ssl"]
        assert (context.verify_mode is ssl.CERT_REQUIRED, context.check_hostname) == (
            verified,
            hostname,
        ), query


def test_channel_binding_that_cannot_be_had_is_said(caplog: pytest.LogCaptureFixture):
    assert normalize_url(f"{ASYNCPG}?channel_binding=require")[1] == {}
    assert "no channel binding" in caplog.text


def test_root_certificate_makes_a_verifying_context(tmp_path: Path):
    import certifi

    for mode, root, hostname in (
        ("verify-full", certifi.where(), True),
        ("verify-full", "system", True),
        ("verify-ca", certifi.where(), False),
        ("require", certifi.where(), False),  # which libpq verifies, too
    ):
        url = f"{ASYNCPG}?sslmode={mode}&sslrootcert={root}"
        context = normalize_url(url)[1]["ssl"]
        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname is hostname
    with pytest.raises(ConfigurationError, match="sslrootcert cannot be read: No such file"):
        normalize_url(f"{ASYNCPG}?sslmode=verify-ca&sslrootcert={tmp_path / 'none.pem'}")


@pytest.mark.dialects("postgresql")
async def test_every_libpq_parameter_reaches_the_server(database_url: str):
    plain = database_url.replace("+asyncpg", "")
    url = (
        f"{plain}?sslmode=prefer&connect_timeout=5&application_name=via-url&channel_binding=prefer"
        "&options=-c%20statement_timeout%3D1234"
    )
    names = ("application_name", "statement_timeout", "lock_timeout")
    async with DatabaseSessionManager(DatabaseConfig(url)) as manager, manager.session() as session:
        shown = [await session.scalar(text(f"SHOW {name}")) for name in names]
    assert shown == ["via-url", "1234ms", "5s"]


@pytest.mark.dialects("postgresql")
async def test_hard_password_works_when_quoted(database_url: str, postgres_server):
    role = f"hard_{os.getpid()}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{HARD_PASSWORD}'")
    try:
        place = database_url.split("@", 1)[1]
        url = f"postgres://{role}:{quote(HARD_PASSWORD, safe='')}@{place}"
        manager = DatabaseSessionManager(DatabaseConfig(url))
        async with manager, manager.session() as session:
            assert await session.scalar(text("SELECT current_user")) == role
    finally:
        postgres_server.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("password", ["a%zb", "a:b", "a/b", "a#b", "a?b", "a b", "a[b"])
def test_unquoted_password_that_is_not_ambiguous_works(password: str):
    url, _ = normalize_url(f"postgresql://user:{password}@host:5432/db?sslmode=require")
    assert (url.password, url.host, url.port, url.database) == (password, "host", 5432, "db")


@pytest.mark.parametrize(
    "password", ["s3cret@tail", "s3cret@tail:1", "s3cret@tail/x", "s3cret@t?ail", "s3cret%ff@"]
)
def test_ambiguous_password_is_refused_and_never_shown(password: str):
    with pytest.raises(ConfigurationError) as caught:
        normalize_url(f"postgresql://user:{password}@host:5432/db")
    shown = "".join(traceback.format_exception(caught.value))
    assert "quote" in str(caught.value)
    assert "\n" not in str(caught.value)
    for part in ("s3cret", "tail", "ail:1"):
        assert part not in str(caught.value)
        assert part not in shown


def test_half_quoted_percent_is_refused():
    with pytest.raises(ConfigurationError, match="'%' that quotes nothing"):
        normalize_url("postgresql://user:s3cret%ff@host/db")


def test_bad_port_does_not_show_the_password():
    secret = "s3" + "cret"  # a traceback shows source lines
    with pytest.raises(ConfigurationError) as caught:
        normalize_url(f"postgresql://user:pw@host:{secret}/db")
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_repr_masks_the_password_wherever_it_was():
    for url in ("postgresql://u:s3cret@h/d", "postgresql://u@h/d?password=s3cret"):
        config = DatabaseConfig(url, connect_args={"ssl": "s3cret"})
        assert "s3cret" not in repr(config)
        assert "s3cret" not in str(config)
        assert "postgresql+asyncpg://u:***@h/d" in repr(config)
        assert config.url.password == "s3cret"  # type: ignore[union-attr]
        assert "s3cret" not in repr(build_engine(config))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool_size": 0}, "pool_size must be more than 0, not 0"),
        ({"max_overflow": -1}, "max_overflow must be 0 or more, not -1"),
        ({"statement_timeout": -0.5}, "statement_timeout must be 0 or more, not -0.5"),
        ({"pool_timeout": 0}, "pool_timeout must be more than 0, not 0"),
        ({"pool_recycle": 0}, "pool_recycle must be more than 0, not 0"),
        ({"connect_timeout": 0}, "connect_timeout must be more than 0, not 0"),
    ],
)
def test_wrong_setting_is_one_line(settings: dict[str, float], message: str):
    with pytest.raises(ConfigurationError) as caught:
        DatabaseConfig("sqlite:///a.db", **settings)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "DATABASE_URL is not set"),
        ({"DATABASE_POOL_SIZE": "many"}, "DATABASE_POOL_SIZE must be a whole number, not 'many'"),
        ({"DATABASE_LOCK_TIMEOUT": "x"}, "DATABASE_LOCK_TIMEOUT must be a number, not 'x'"),
        ({"DATABASE_PGBOUNCER": "si"}, "DATABASE_PGBOUNCER must be true or false, not 'si'"),
        ({"DATABASE_POOL_SIZE": "0"}, "pool_size must be more than 0, not 0"),
    ],
)
def test_wrong_environment_is_one_line(environ: dict[str, str], message: str):
    url = {"DATABASE_URL": "sqlite:///a.db"} if environ else {}
    with pytest.raises(ConfigurationError) as caught:
        DatabaseConfig.from_env(environ=url | environ)
    assert str(caught.value) == message


def test_settings_come_from_the_environment():
    config = DatabaseConfig.from_env(
        "APP_DSN",
        {
            "APP_DSN": "postgresql://h/d",
            "DATABASE_POOL_SIZE": "7",
            "DATABASE_STATEMENT_TIMEOUT": "1.5",
            "DATABASE_PGBOUNCER": "true",
            "DATABASE_ECHO": "off",
            "DATABASE_APPLICATION_NAME": "api",
        },
    )
    assert (config.pool_size, config.statement_timeout) == (7, 1.5)
    assert (config.pgbouncer, config.echo, config.application_name) == (True, False, "api")


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        (
            f"{ASYNCPG}?connect_timeout=3&command_timeout=4",
            {},
            {"timeout": 3, "command_timeout": 4},
        ),
        (f"{ASYNCPG}?connect_timeout=3", {"timeout": 5}, {"timeout": 5, "command_timeout": 34}),
        (ASYNCPG, {}, {"timeout": 10, "command_timeout": 34}),
        ("mysql://u:p@h/d", {}, {"connect_timeout": 10}),
        ("mysql://u:p@h/d?connect_timeout=3", {}, {"connect_timeout": 3}),
        ("mysql://u:p@h/d", {"connect_timeout": 5}, {"connect_timeout": 5}),
        ("mysql://u:p@h/d?init_command=SET+NAMES+ascii", {}, {"init_command": "SET NAMES ascii"}),
        ("sqlite:///a.db", {}, {"timeout": 20}),
        ("sqlite:///a.db?timeout=3", {}, {"timeout": 3}),
        ("sqlite:///a.db", {"timeout": 5}, {"timeout": 5}),
    ],
)
def test_what_the_url_or_the_application_says_itself_is_kept(
    url: str, given: dict[str, object], expected: dict[str, object]
):
    """Of the two, what the application gives to the driver has the last word."""
    found: dict[str, object] = {}
    engine = build_engine(DatabaseConfig(url, connect_args=given))

    @event.listens_for(engine.sync_engine, "do_connect")
    def note(
        _dialect: object, _record: object, _args: object, arguments: dict[str, object]
    ) -> None:
        found.update(arguments)
        raise ConnectionRefusedError

    with pytest.raises((OperationalError, ConnectionRefusedError)):
        engine.sync_engine.connect()
    assert {name: found[name] for name in expected} == expected


def test_config_is_frozen():
    config = DatabaseConfig("sqlite:///a.db")
    with pytest.raises(AttributeError):
        config.pool_size = 3  # type: ignore[misc]


@pytest.mark.parametrize("version", ["0.105.0", "0.118.0", "0.120.4", "0.121.0"])
def test_older_fastapi_is_refused(version: str):
    with pytest.raises(RuntimeError, match=r"fastapi>=0\.121\.1"):
        require_fastapi(version)


@pytest.mark.parametrize("version", ["0.121.1", "0.130.0rc1", "0.165.0", "1.0"])
def test_newer_fastapi_is_accepted(version: str):
    require_fastapi(version)


def run_python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=TEMPLATES,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_import_refuses_an_old_fastapi():
    ran = run_python("import fastapi; fastapi.__version__ = '0.118.0'; import session_manager")
    assert ran.returncode == 1
    assert "needs fastapi>=0.121.1" in ran.stderr.splitlines()[-1]


def test_seed_05_import_reads_nothing_and_connects_to_nothing():
    """Settings that are made later count (#14): there was a limit, read at import."""
    code = """
import os, socket, sqlalchemy.ext.asyncio as sa
def no(*args, **kwargs): raise SystemExit("work at import")
socket.socket.connect = no
sa.create_async_engine = no
import session_manager
os.environ["DATABASE_URL"] = "sqlite:///a.db"
os.environ["DATABASE_POOL_SIZE"] = "3"
print(session_manager.database_config().pool_size)
"""
    assert run_python(code).stdout == "3\n"


class Settings(BaseSettings):
    database_url: SecretStr = SecretStr("sqlite:///a.db")
    database_max_overflow: int = 2
    DB_POOL_TIMEOUT: float = 1.5
    pool_size: int = 9


def test_settings_of_pydantic_count_as_the_environment_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / ".env").write_text("POOL_SIZE=7\n")
    monkeypatch.setenv("DATABASE_LOCK_TIMEOUT", "4")
    config = DatabaseConfig.from_settings(Settings(_env_file=tmp_path / ".env"))  # type: ignore[call-arg]
    assert (config.pool_size, config.max_overflow, config.pool_timeout) == (7, 2, 1.5)
    assert config.lock_timeout == 4
    other = DatabaseConfig.from_settings(None, "mysql://h/d")
    assert (make_url(other.url).drivername, other.pool_size) == ("mysql+aiomysql", 5)
    with pytest.raises(ConfigurationError, match="no database_url"):
        DatabaseConfig.from_settings(object())


def test_of_several_settings_the_longest_name_counts_and_the_environment_last(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("DATABASE_MAX_OVERFLOW", "8")
    names = {"max_overflow": 6, "db_max_overflow": 4, "database_max_overflow": 2}
    for number in range(len(names) + 1):
        given = SimpleNamespace(database_url="sqlite:///a.db", **dict([*names.items()][:number]))
        assert DatabaseConfig.from_settings(given).max_overflow == 8 - 2 * number


async def test_opening_twice_is_an_error(tmp_path: Path):
    manager = DatabaseSessionManager(DatabaseConfig(f"sqlite:///{tmp_path}/a.db"))
    with pytest.raises(RuntimeError, match="not open: pass lifespan=lifespan"):
        manager.session()
    await manager.close()
    async with manager:
        with pytest.raises(RuntimeError, match="already open"):
            await manager.open()
    with pytest.raises(RuntimeError, match="not open"):
        manager.engine  # noqa: B018
    async with manager, manager.session() as session:  # it can be opened again
        assert await session.scalar(text("SELECT 1")) == 1


def test_seed_07_second_event_loop_is_an_error_and_no_hang(postgres_server, tmp_path: Path):
    for url in (f"sqlite:///{tmp_path}/a.db", postgres_server.url("postgres")):
        manager = DatabaseSessionManager(DatabaseConfig(url))

        async def use(manager: DatabaseSessionManager = manager) -> object:
            async with manager.session() as session:
                return await session.scalar(text("SELECT 1"))

        with asyncio.Runner() as first, asyncio.Runner() as second:
            first.run(manager.open())
            assert first.run(use()) == 1
            with pytest.raises(RuntimeError, match="opened in another event loop"):
                second.run(asyncio.wait_for(use(), 60))
            first.run(manager.close())
