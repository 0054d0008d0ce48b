"""The command after "next:" is carried out where it was read, and does what it says (#12).

What a refusal offers is carried out beside each refusal. A line that asks a person to decide
("Update the code, or check the database's name") is no command.
"""

import ast
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from projects import warm
from projects.setup_door import SCRIPTS
from projects.shop import Shop
from servers.mysql import MySQLServer
from servers.postgres import PostgresServer
from toolkit.connection.address import QUOTE
from toolkit.connection.failures import REST, set_password
from toolkit.project.imports import dotted
from toolkit.report.quoting import identifier, literal, word

pytestmark = pytest.mark.any_sqlalchemy


def carry_out(command: str, folder: Path, environment: dict[str, str]) -> str:
    """One of our scripts, or what a shell finds; its output. Fails where it does."""
    bash, script, *words = [*shlex.split(command), ""]
    if bash == "bash" and (door := folder / script).parent == SCRIPTS:
        ended = warm.door(door, *words[:-1], cwd=folder, environment=environment)
        assert ended.returncode == 0, (command, ended.stderr)
        return ended.stdout
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**environment, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def next_of(text: str) -> list[str]:
    """The commands of the last line."""
    found = re.fullmatch(r"next: (.+?)(?:, then `(.+)`)?", text.splitlines()[-1])
    assert found, text
    return [one for one in found.groups() if one]


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("ini", ["my alembic.ini", "alembic.ini"])
def test_what_setup_says_to_do_works_from_another_folder(tmp_path: Path, ini: str) -> None:
    """The project's folder has a space in its name, the ini as well."""
    shop = Shop(tmp_path / "my shop")
    (shop.root / "alembic.ini").rename(shop.root / ini)
    shop.add_revision("other", None)
    environment = shop.environment(f"sqlite+aiosqlite:///{tmp_path}/own.db")
    given = ["--project", "my shop", *([] if ini == "alembic.ini" else ["--ini", f"my shop/{ini}"])]
    said = carry_out(
        shlex.join(["bash", str(SCRIPTS / "setup-alembic.sh"), *given]), tmp_path, environment
    )
    generate, upgrade = next_of(said)
    assert "Created" in carry_out(generate, tmp_path, environment)
    carry_out(upgrade, tmp_path, environment)
    assert (tmp_path / "own.db").exists()
    current = carry_out(upgrade.replace("upgrade head", "current"), tmp_path, environment)
    assert "(head)" in current


# test-connection.sh: what a layer says comes next is read from its source, so that a command that
# is added has to be carried out here, or by a test that CARRIED_OUT names.

CONNECTION = SCRIPTS / "toolkit" / "connection"
TAKES = {"warning": 2, "stop": 2, "broken": 2, "Verdict": 2, "Step": 4}
"""What makes a step, and which of its arguments is the next command."""
ADVICE = re.compile(
    r"(Add|At most|Compare|Correct|End|Give|Hold|Leave|Let|Look|Name|Pass|Paste|Plan|Put|Raise|Read"
    r"|Renew|Repair|Run|Say|Set|Start|Switch|Take|Update|Wait|Was|Write)\b"
    r"|As an administrator: .*\.\.\.|As an administrator: FLUSH|\d+ processes need"
    r"|CREATE DATABASE \.\.\.|create_async_engine\(\.\.\.|pool_recycle=\d+, or"
)
"""What asks a person to decide, or has a gap. All else is a command."""
LED_IN = re.compile(
    r"(?:Look|Close|Install|Set|Quote)\b[^:]*: (?=(?:SELECT|python|read|timedatectl|psql|\S*pip) ?)"
)
CARRIED_OUT = {
    "history.upgrade + ('s' if len(heads) > 1 else '')": (
        "test_the_command_for_the_revision_is_right_where_it_is_read"
    ),
}
"""Put together elsewhere, and carried out by a test of test_connection_faults.py."""
ADVISED = frozenset({"translated.cure", "next", "worst.next", "remedy"})
"""A drop-in replacement for the URL; what was a step's before."""


def remedies() -> Iterator[tuple[str, ast.expr]]:
    """`module.py:line` and the expression of everything that is printed behind `next:`."""
    for path in sorted(CONNECTION.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (taken := dotted(node.func)) in TAKES:
                given = {one.arg: one.value for one in node.keywords}
                value = given.get("next", (*node.args, *[None] * 5)[TAKES[taken]])
                for leaf in leaves(value, tree) if value is not None else ():
                    yield f"{path.name}:{leaf.lineno}", leaf
    for _layer, _message, remedy in REST.values():
        yield "failures.py", ast.parse(repr(remedy), mode="eval").body


def leaves(value: ast.expr, tree: ast.Module) -> Iterator[ast.expr]:
    """The texts that it may be: of both branches, of a name and of a function of the module."""
    found: list[ast.expr | None] = []
    if isinstance(value, ast.IfExp):
        found = [value.body, value.orelse]
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        made = [one for one in tree.body if getattr(one, "name", "") == value.func.id]
        assert made, ast.unparse(value)
        found = [one.value for one in ast.walk(made[0]) if isinstance(one, ast.Return)]
    elif isinstance(value, ast.Name):
        found = [
            one.value
            for one in ast.walk(tree)
            if isinstance(one, ast.Assign) and any(dotted(to) == value.id for to in one.targets)
        ]
    else:
        yield value
    for one in found:
        yield from leaves(one, tree) if one is not None else ()


@dataclass
class Printed:
    place: str
    text: str

    @property
    def command(self) -> str:
        """Without what is said around it."""
        text = LED_IN.sub("", self.text).partition("   # ")[0]
        if re.match("SELECT|SHOW|SET|GRANT|ALTER|CREATE", text):
            text = re.split(r", (?:or|unless|and) |; | \((?:or|new) ", text)[0]
        return text


def printed(names: dict[str, Any]) -> list[Printed]:
    """Those that are commands, with the values that `names` has for what is in them."""
    found = {}
    for place, leaf in remedies():
        source = ast.unparse(leaf)
        if source in {*CARRIED_OUT, *ADVISED}:
            continue
        start = leaf.value if isinstance(leaf, ast.Constant) else ""
        if isinstance(leaf, ast.JoinedStr) and isinstance(leaf.values[0], ast.Constant):
            start = leaf.values[0].value
        if isinstance(leaf, ast.BinOp) and isinstance(leaf.left, ast.Constant):
            start = leaf.left.value
        if ADVICE.match(str(start)) and not LED_IN.match(str(start)):
            continue
        try:
            there = {**names, **names.get(place.partition(":")[0], {})}
            text = eval(compile(ast.Expression(leaf), place, "eval"), there)
        except NameError as error:
            raise AssertionError(f"{place}: {source} is carried out by no test") from error
        if not ADVICE.match(text) or LED_IN.match(text):
            found[text] = Printed(place, text)
    return list(found.values())


@dataclass
class World:
    """What the commands are about: names with what has to be quoted, on two servers."""

    folder: Path
    postgres: PostgresServer
    mysql: MySQLServer
    database: str
    role: str = 'a "person"'

    def names(self, kind: str) -> dict[str, Any]:
        path = self.folder / "my shop.db"
        facts = {"role": self.role, "zone": "UTC", "database": self.database}
        server = self.postgres if kind == "postgresql" else self.mysql
        address = SimpleNamespace(
            host="127.0.0.1", port=server.port, shown=f"127.0.0.1:{server.port}"
        )
        return {
            "QUOTE": QUOTE, "word": word, "identifier": identifier, "literal": literal,
            "install": install_words,
            "project": None, "package": "pip", "facts": facts, "path": path, "parent": path.parent,
            "place": path.parent, "holder": os.getpid(), "host": "localhost", "first": address,
            "address": address, "target": SimpleNamespace(kind=kind), "user": self.role,
            "database": f"new of {self.database}", "names": ["a schema"], "there": ["public"],
            "schema": "public", "role": self.role, "lacking": ["SELECT", "CREATE"], "idle": 10,
            "expected": SimpleNamespace(time_zone="UTC", processes=1), "wait": 10, "limit": 1,
            "name": identifier(self.database, "mysql"), "each": 1, "set_password": set_password,
            "account": "'someone'@'%'",
            "upgrade": "alembic upgrade head", "source.py": {"name": "DATABASE_URL"},
        }  # fmt: skip


def install_words(_project: None, package: str) -> str:
    return f"python -m pip install {package}"


@pytest.fixture
def world(
    tmp_path: Path, postgres_server: PostgresServer, mysql_server: MySQLServer
) -> Iterator[World]:
    database = f"next_{os.getpid()}"
    for server in (postgres_server, mysql_server):
        server.create_database(database)
    made = World(tmp_path, postgres_server, mysql_server, database)
    postgres_server.execute(f"CREATE ROLE {identifier(made.role)}")
    for name in ("someone", made.role):
        mysql_server.execute(f"CREATE USER {literal(name, 'mysql')}@'%'")
    kept = [
        mysql_server.execute(f"SELECT @@GLOBAL.{name}")[0][0] for name in ("time_zone", "sql_mode")
    ]
    sqlite3.connect(tmp_path / "my shop.db").execute("CREATE TABLE thing (id int)")
    yield made
    for name, value in zip(("time_zone", "sql_mode"), kept, strict=True):
        mysql_server.execute(f"SET GLOBAL {name} = {literal(value, 'mysql')}")
    for name in ("someone", made.role):
        mysql_server.execute(f"DROP USER {literal(name, 'mysql')}@'%'")
    for server in (postgres_server, mysql_server):
        kind = "mysql" if server is mysql_server else "postgresql"
        for one in (database, f"new of {database}"):
            server.execute(f"DROP DATABASE IF EXISTS {identifier(one, kind)}")
    postgres_server.execute(f"DROP ROLE {identifier(made.role)}")


def test_every_command_of_a_layer_is_carried_out(world: World) -> None:
    """On both servers, in a shell, with names that have to be quoted; none is known to none."""
    done = set()
    for kind in ("postgresql", "mysql"):
        for one in printed(world.names(kind)):
            of = {"mysql.py": "mysql", "postgresql.py": "postgresql", "ladder.py": "postgresql"}
            if of.get(one.place.partition(":")[0], kind) == kind:
                carried_out(one, world)
                done.add(one.command.split()[0])
    faults = Path(__file__).with_name("test_connection_faults.py").read_text(encoding="utf-8")
    assert all(f"def {name}(" in faults for name in CARRIED_OUT.values())
    assert {"GRANT", "CREATE", "ALTER", "SELECT", "SHOW", "SET", "ls", "mkdir", "ps"} <= done


def carried_out(one: Printed, world: World) -> None:
    first = one.command.split()[0]
    if first in ("SELECT", "SHOW", "SET", "GRANT", "ALTER", "CREATE"):
        on_mysql = first == "SHOW" or re.search("`|GLOBAL", one.command)
        (world.mysql if on_mysql else world.postgres).execute(one.command, world.database)
        return
    assert re.match("[a-z]", one.command), f"{one.place}: no command, and no advice: {one.text}"
    parsed = subprocess.run(["bash", "-n", "-c", one.command], capture_output=True, check=False)
    assert parsed.returncode == 0, one
    here = first == "read" or shutil.which(first) is not None  # a builtin
    if first in RUN_ELSEWHERE or not here:
        assert first in {*RUN_ELSEWHERE, *MAY_BE_MISSING}, f"{one.place}: what is {first}?"
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-c", one.command], input="secret\n", cwd=world.folder, text=True,
        env={**os.environ, "PATH": path}, capture_output=True, check=False,
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    if first in FOUND_NOTHING:  # what it asks about is not so here
        assert ended.returncode <= 1, said
        assert not re.search(r"(?i)usage|unknown option|unrecognized|invalid option", said), said
        return
    assert ended.returncode == 0, (one, said)


MAY_BE_MISSING = frozenset({"ss", "nc", "fuser", "sqlite3", "openssl", "file", "timedatectl"})
FOUND_NOTHING = frozenset({"nc", "fuser", "openssl", "timedatectl"})
RUN_ELSEWHERE = {
    "alembic": "test_the_command_for_the_revision_is_right_where_it_is_read",
    "psql": "asks for the new password twice, at a terminal",
}


def test_a_command_that_no_test_carries_out_is_seen() -> None:
    """Both ways of adding one: with a value that nobody gave, and with a program."""
    tree = ast.parse("def f():\n    stop(1, 2, f'drop {thing}')\n    stop(1, 2, 'reboot now')\n")
    added = [node.args[2] for node in ast.walk(tree) if isinstance(node, ast.Call)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "remedies", lambda: [("x.py:1", added[0])])
        with pytest.raises(AssertionError, match="carried out by no test"):
            printed({})
        patch.setattr(sys.modules[__name__], "remedies", lambda: [("x.py:2", added[1])])
        (one,) = printed({})
    with pytest.raises(AssertionError, match="what is reboot"):
        assert one.command.split()[0] in MAY_BE_MISSING, "what is reboot"


def test_no_other_place_prints_a_next_line() -> None:
    """Those that do, and the test above or elsewhere that carries their commands out."""
    found = set()
    for path in (SCRIPTS / "toolkit").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"""["']next: |\\nNext:""", text):
            found.add(path.relative_to(SCRIPTS / "toolkit").as_posix())
    assert found == {
        "connection/text.py",  # here
        "setup/command.py",  # above; `--scaffold` in test_setup_scaffold.py
        "migration/outcome.py",  # test_generate_migration.py runs its last line
    }


OTHER_PROGRAMS = frozenset(
    [
        "--autogenerate",
        "--head",
        "--purge",
        "--sql",
        "--version-path",
        "--reporter",
        "--version",
        "--other-name",
    ]
)
"""Alembic's, squawk's, PostgreSQL's own."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
OF_ANOTHER = re.compile(r"[\w-]+\.sh --[a-z-]*")


def flags_named(package: str) -> set[str]:
    """In the texts of a door's own package, but those behind another script's name."""
    found: set[str] = set()
    for path in (SCRIPTS / "toolkit" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(FLAG.findall(OF_ANOTHER.sub("", node.value)))
    return found


@pytest.mark.parametrize(
    ("door", "package"),
    [
        ("setup-alembic.sh", "setup"),
        ("generate-migration.sh", "migration"),
        ("test-connection.sh", "connection"),
        ("optimize-queries.sh", "queries"),
    ],
)
def test_no_flag_is_named_that_the_script_does_not_have(door: str, package: str) -> None:
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    ended = warm.door(SCRIPTS / door, "--help", cwd=SCRIPTS, environment=environment)
    has = set(FLAG.findall(ended.stdout))
    named = flags_named(package)
    assert len(has & named) >= 10
    assert named - has - OTHER_PROGRAMS == set()
