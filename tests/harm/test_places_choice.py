"""Which place is taken, and by which signs a server on this machine is production."""

import os
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL, make_url

from harm.production import SHOP, Production
from projects.setup_door import setup
from projects.shop import Shop
from toolkit.connection.address import places as found_by_address
from toolkit.database import places, private_server, scratch
from toolkit.database.errors import DatabaseError
from toolkit.database.places import is_local, is_named, server_name, signs_here
from toolkit.database.scratch import Wish, open_scratch
from toolkit.database.urls import SCRATCH_VARIABLE
from toolkit.project.root import remembered_servers
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [SCRATCH_VARIABLE, *(one for one in os.environ if places.STAGE.fullmatch(one))]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without server programs, as far as the script can find."""

    def none(kind: str) -> dict[str, str]:
        raise private_server.NoBinaries(f"no {kind} programs are on this machine")

    monkeypatch.setattr(private_server, "find_programs", none)


def refused(kind: Any, url: URL | None, wish: Wish | None = None) -> str:
    with pytest.raises(DatabaseError) as caught, open_scratch(kind, server_url=url, wish=wish):
        pass
    assert caught.value.problem.exit_code == Exit.NO_SCRATCH
    return str(caught.value)


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("no_programs")
def test_without_programs_the_own_server_on_this_machine_is_taken(
    production: Production, dialect: str
) -> None:
    own = make_url(production.superuser_url)
    with open_scratch(dialect, server_url=own) as made:
        assert made.origin == f"on the server 127.0.0.1:{own.port}"
        assert f"no {dialect} programs are on this machine" in made.notes
        assert made.url.username != own.username
    assert production.harm() == []


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("no_programs")
def test_without_any_place_it_is_exit_13_with_the_line(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that installs a server, beside the flag and the variable."""
    far = make_url(FAR[dialect])
    for manager, line in LINES[dialect].items():
        for name in LINES[dialect]:
            (tmp_path / name).unlink(missing_ok=True)
        program = tmp_path / manager
        program.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/asked"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        words = refused(dialect, far)
        assert words.count(line) == 1
        assert f"--scratch-on db.example.org:{places.PORTS[far.get_backend_name()]}" in words
        assert SCRATCH_VARIABLE in words
        assert "is not on this machine" in words
        assert "s3cret" not in words
        # As printed, and as far as the package manager that it asks.
        subprocess.run(shlex.split(line), check=True, env={"PATH": f"{tmp_path}:/bin"})
        assert (tmp_path / "asked").read_text().split() == line.split()[1:]
    for name in LINES[dialect]:
        (tmp_path / name).unlink(missing_ok=True)
    assert "server programs" in refused(dialect, far)


FAR = {
    "postgresql": "postgresql+asyncpg://shop:s3cret@db.example.org/shop",
    "mysql": "mysql+aiomysql://shop:s3cret@db.example.org/shop",
}
LINES = {
    "postgresql": {
        "apt-get": "apt-get install postgresql",
        "dnf": "dnf install postgresql-server",
        "brew": "brew install postgresql",
    },
    "mysql": {
        "apt-get": "apt-get install mariadb-server",
        "dnf": "dnf install mariadb-server",
        "brew": "brew install mariadb",
    },
}


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed line has sudo where the caller is none."""
    monkeypatch.setattr(places, "may_install", lambda: True)


def test_others_are_told_to_use_sudo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "may_install", lambda: False)
    (tmp_path / "apt-get").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert places.install_line("postgresql") == "sudo apt-get install postgresql"


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("no_programs")
@pytest.mark.parametrize(
    "case",
    [
        ({"APP_ENV": "production"}, "", "shop", "APP_ENV is production"),
        ({"ENVIRONMENT": "PROD"}, "", "shop", "ENVIRONMENT is PROD"),
        ({"DEPLOY_STAGE": "live"}, "", "shop", "DEPLOY_STAGE is live"),
        ({}, 'export APP_ENV="production"\n', "shop", "APP_ENV is production"),
        ({}, "", "shop_prod", "the database is called shop_prod"),
        ({}, "", "live-shop", "the database is called live-shop"),
    ],
)
def test_signs_that_need_no_look_at_the_server(
    production: Production,
    dialect: str,
    case: tuple[dict[str, str], str, str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    variables, settings, database, sign = case
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".env").write_text(settings)
    own = make_url(production.superuser_url).set(database=database)
    words = refused(dialect, own, Wish(root=tmp_path))
    assert f"it looks like production: {sign}" in words
    assert "--scratch-on 127.0.0.1:" in words
    assert production.harm() == []


@pytest.mark.parametrize(
    "name", ["shop", "products", "reproduction", "delivery", "alive", "prodigy", "olive_oil"]
)
def test_ordinary_names_are_no_signs(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("APP_ENV", "development")
    monkeypatch.setenv("PRODUCTION_URL", "x")
    monkeypatch.setenv("VIRTUAL_ENV", "/srv/prod/venv")
    (tmp_path / ".env").write_text("ENVIRONMENT=local # not production\n")
    url = make_url(f"postgresql://{name}@localhost/{name}")
    assert signs_here(url, tmp_path) == []


@pytest.mark.dialects("postgresql")
@pytest.mark.usefixtures("no_programs")
def test_a_replication_slot_is_a_sign(production: Production, productions: dict[str, Any]) -> None:
    with productions["postgresql"].connect("postgres") as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('harm_standby')")
        try:
            words = refused("postgresql", make_url(production.superuser_url))
        finally:
            connection.execute("SELECT pg_drop_replication_slot('harm_standby')")
    assert "it looks like production: there is a replication slot" in words


@pytest.mark.dialects("postgresql")
@pytest.mark.usefixtures("no_programs")
def test_a_standby_is_a_sign_and_is_none_itself(production: Production) -> None:
    from servers.postgres import PostgresServer
    from servers.standby import running_standby
    from toolkit.database.shared_postgresql import SIGNS

    primary = PostgresServer(
        make_url(production.superuser_url).set(drivername="postgresql"), "15", None
    )
    with running_standby(primary) as standby:
        words = refused("postgresql", make_url(production.superuser_url))
        assert "a standby is attached" in words
        words = refused("postgresql", make_url(standby.url(SHOP)))
        assert "it is a standby, on which nothing can be made" in words
    assert "archive_mode" in SIGNS


@pytest.mark.dialects("postgresql", "mysql")
def test_the_flag_takes_the_own_server_and_no_other(
    production: Production, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that has the flag does not open another server when the address changes."""
    monkeypatch.setenv("APP_ENV", "production")
    own = make_url(production.superuser_url)
    name = f"127.0.0.1:{own.port}"
    with open_scratch(dialect, server_url=own, wish=Wish(named=name)) as made:
        assert made.origin == f"on the server {name}"
        assert f"{name}: APP_ENV is production" in made.notes
    for other in ("127.0.0.1", "127.0.0.1:1", "localhost", "db.example.org", str(own), ""):
        with (
            pytest.raises(DatabaseError) as caught,
            open_scratch(dialect, server_url=own, wish=Wish(named=other)),
        ):
            pass
        assert caught.value.problem.exit_code == Exit.USAGE
        assert name in str(caught.value)
    with (
        pytest.raises(DatabaseError) as caught,
        open_scratch(dialect, server_url=None, wish=Wish(named=name)),
    ):
        pass
    assert "its URL is not set" in str(caught.value)
    assert production.harm() == []


@pytest.mark.dialects("postgresql", "mysql")
def test_what_the_configuration_allows_is_no_pass_for_production(
    production: Production, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make_url(production.superuser_url)
    wish = Wish(remembered=("db:5432", f"127.0.0.1:{own.port}"))
    with open_scratch(dialect, server_url=own, wish=wish) as made:
        assert made.origin == f"on the server 127.0.0.1:{own.port}"
    monkeypatch.setenv("APP_ENV", "production")
    with open_scratch(dialect, server_url=own, wish=wish) as made:
        assert made.origin == "on a private server"
        assert "APP_ENV is production" in made.notes[0]
    assert production.harm() == []


def test_the_help_s_configuration_is_read(tmp_path: Path) -> None:
    from toolkit.database.urls import WHERE

    lines = [line.strip() for line in WHERE.splitlines() if line.startswith("  ")]
    (tmp_path / "pyproject.toml").write_text("\n".join(lines))
    assert remembered_servers(tmp_path) == ("127.0.0.1:5432",)
    table = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert set(table["tool"]) == {"async-sqlalchemy-patterns"}
    (tmp_path / "pyproject.toml").write_text(
        '[tool.async-sqlalchemy-patterns]\nscratch-on = ["db", "localhost:5433"]\n'
    )
    assert remembered_servers(tmp_path) == ("db", "localhost:5433")
    for odd in ("", "[tool]\nasync-sqlalchemy-patterns = 1\n", "not toml ["):
        (tmp_path / "pyproject.toml").write_text(odd)
        assert remembered_servers(tmp_path) == ()


@pytest.mark.dialects("postgresql", "mysql")
def test_both_doors_know_the_flag(production: Production, dialect: str, tmp_path: Path) -> None:
    """One on each, since what it does is shown above."""
    shop = Shop(tmp_path / "my shop")
    flag = ("--scratch-on", f"127.0.0.1:{make_url(production.url).port}")
    if dialect == "postgresql":
        ended = shop.generate("users", *flag, url=production.url)
        refused = setup(shop.root, "--scratch-on", "db.example.org", url=production.url)
    else:
        refused = shop.generate("users", "--scratch-on", "db.example.org", url=production.url)
        ended = setup(shop.root, *flag, url=production.url)
    assert ended.code == 0, ended.err
    assert f"on the server {flag[1]}" in ended.out
    assert refused.code == Exit.USAGE, refused.err
    assert f"That is {flag[1]}" in refused.err
    assert production.harm() == []


@pytest.mark.parametrize(
    ("url", "kind", "name", "local"),
    [
        ("postgresql://u:p@localhost/x", "postgresql", "localhost:5432", True),
        ("postgresql://u:p@127.0.0.1:5433/x", "postgresql", "127.0.0.1:5433", True),
        ("postgresql://u:p@[::1]/x", "postgresql", "::1:5432", True),
        ("postgresql:///x?host=/run/postgresql", "postgresql", "/run/postgresql", True),
        ("postgresql:///x", "postgresql", "localhost:5432", True),
        ("mysql://u@/x?unix_socket=/run/mysqld/s", "mysql", "/run/mysqld/s", True),
        ("postgresql://u:p@db/x", "postgresql", "db:5432", False),
        (
            "postgresql://u:p@localhost.example.org/x",
            "postgresql",
            "localhost.example.org:5432",
            False,
        ),
        (
            "postgresql://u:p@127.0.0.1.example.org/x",
            "postgresql",
            "127.0.0.1.example.org:5432",
            False,
        ),
        ("mysql://u:p@10.0.0.5/x", "mysql", "10.0.0.5:3306", False),
        ("postgresql://u:p@localhost/x?hostaddr=10.0.0.5", "postgresql", "localhost:5432", False),
        ("postgresql://u@/x?host=localhost&host=db", "postgresql", "localhost:5432", False),
        ("postgresql://u@/x?host=db", "postgresql", "db:5432", False),
    ],
)
def test_names_of_servers(url: str, kind: Any, name: str, local: bool) -> None:
    made = make_url(url)
    assert server_name(made, kind) == name
    assert is_local(made) is local
    assert is_named(made, kind, name)
    assert is_named(made, kind, name.removesuffix(":5432").removesuffix(":3306"))
    assert not is_named(made, kind, f"{name}0")


@pytest.mark.dialects("sqlite")
@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("variables", "url", "name", "local"),
    [
        ({}, "postgresql+asyncpg:///shop", "localhost:5432", True),
        ({"PGHOST": "far", "PGPORT": "5433"}, "postgresql+asyncpg:///shop", "far:5433", False),
        ({"PGHOST": "far"}, "postgresql+asyncpg://u@localhost/shop", "localhost:5432", True),
        ({"PGHOST": "/run/pg"}, "postgresql+asyncpg:///shop", "/run/pg", True),
        ({"PGHOST": "far,near"}, "postgresql+asyncpg:///shop", "far:5432", False),
        ({"PGHOSTADDR": "10.0.0.1"}, "postgresql+psycopg://localhost/shop", None, False),
        ({"PGSERVICE": "far"}, "postgresql+asyncpg://localhost/shop", None, False),
    ],
)
def test_the_own_server_is_where_the_drivers_go(
    variables: dict[str, str],
    url: str,
    name: str | None,
    local: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment completes a URL, and a service goes before it."""
    for variable in ("PGHOST", "PGPORT", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    own = scratch.own_server("postgresql", make_url(url))
    if name and ":" in name:
        host, port = name.split(":")
        found, _ = found_by_address(make_url(url), "postgresql")
        assert (found[0] if found else ("localhost", 5432)) == (host, int(port))
    assert (own and server_name(own, "postgresql")) == name
    assert (own is not None and is_local(own)) is local


def test_the_sqlite_scratch_is_a_file(production: Production) -> None:
    with open_scratch("sqlite", server_url=make_url(production.url)) as made:
        assert Path(str(made.url.database)).is_relative_to(production.temporary)
        assert made.origin == "in a temporary file"
    assert production.harm() == []
    assert scratch.INSTALL["sqlite"] == "aiosqlite"
