"""generate-migration.sh, run as a user runs it."""

import contextlib
import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from projects import warm
from projects.shop import ADDRESS, DOOR, Ended, Shop
from servers.postgres import PostgresServer
from toolkit.database import scratch
from toolkit.database.scratch import execute
from toolkit.database.urls import Kind
from toolkit.migration import situation
from toolkit.migration.generate import Wanted, bench_at_head, put_in_place, write_draft
from toolkit.migration.install import install, sweep_halves
from toolkit.migration.message import as_docstring, clean_message
from toolkit.migration.refusal import Refusal
from toolkit.migration.words import data_losses, in_words
from toolkit.project import read_project
from toolkit.report.exits import Exit


@pytest.fixture(autouse=True)
def no_given_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scratch.SCRATCH_VARIABLE, raising=False)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "my shop")


def assert_refused(ended: Ended, code: Exit, *words: str) -> None:
    assert ended.code == code, ended.err
    for word in words:
        assert word in ended.err
    assert "Traceback" not in ended.err


def alembic(shop: Shop, *arguments: str, url: str) -> str:
    """Alembic itself, as the user runs it afterwards."""
    ended = subprocess.run(
        [warm.python(), "-m", "alembic", *arguments],
        cwd=shop.root,
        env={**shop.environment(url), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.older_sqlalchemy_on("postgresql")
def test_first_migration_is_proved_and_runs(
    shop: Shop, dialect: str, database_url: str, make_database: Callable[[str], str]
) -> None:
    before = shop.files()
    ended = shop.generate("initial schema", url=database_url)
    assert ended.code == 0, ended.err
    assert "create table users (3 columns, 1 unique constraint, 1 index)" in ended.out
    assert "upgrade, downgrade, upgrade" in ended.out
    assert "alembic upgrade head" in ended.out
    (made,) = shop.versions()
    assert made.name.endswith("initial_schema.py")
    assert set(shop.files()) - set(before) == {str(made.relative_to(shop.root))}
    assert made.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    password = make_url(database_url).password
    assert not password or password not in ended.out + ended.err + made.read_text()
    # The developer's database: untouched by the script, then migrated by its owner.
    listing = {
        "sqlite": "SELECT name FROM sqlite_master",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
        "mysql": "SHOW TABLES",
    }[dialect]
    assert execute(make_url(database_url), listing) == []
    alembic(shop, "upgrade", "head", url=database_url)
    assert {"users", "alembic_version"} <= {
        str(row[0]) for row in execute(make_url(database_url), listing)
    }
    alembic(shop, "check", url=database_url)


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_second_migration_and_nothing_to_do(shop: Shop) -> None:
    shop.add_first()
    first = shop.versions()
    unchanged = shop.generate("again")
    assert_refused(unchanged, Exit.NO_CHANGES, "agree")
    assert shop.versions() == first
    shop.edit(
        "app/models.py",
        "    nick: Mapped[str] = mapped_column(String(20), index=True)",
        "    bio: Mapped[str | None] = mapped_column(String(500))",
    )
    ended = shop.generate("bio, no nick", "--json")
    document = json.loads(ended.out)
    assert document["status"] == "created"
    assert document["down_revision"] == "first"
    assert set(document["words"]) == {
        "add column users.bio VARCHAR(500)",
        "drop index ix_users_nick on users",
        "drop column users.nick",
    }
    assert document["data_loss"] == ["drops the column users.nick with all its values"]
    assert Path(document["file"]).exists()


ITEM = """
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
"""


def test_seed_35_model_that_env_does_not_import_is_refused_with_its_import(shop: Shop) -> None:
    """The database has the table; plain autogenerate would write op.drop_table('items')."""
    shop.write("app/items.py", ITEM)
    shop.add_first()
    shop.add_revision(
        "second", "first", "op.create_table('items', sa.Column('id', sa.Integer, primary_key=True))"
    )
    before = shop.files()
    ended = shop.generate("next")
    assert_refused(
        ended, Exit.MODELS_MISSING, "app/items.py:6 class Item (table items)", "import app.items"
    )
    assert shop.files() == before
    document = json.loads(shop.generate("next", "--json").out)
    assert document["code"] == "models-missing"
    assert document["exit"] == 9
    shop.edit("alembic/env.py", "import app.models", "import app.models\nimport app.items")
    shop.edit("app/items.py", "id: Mapped[int]", "size: Mapped[int]\n    id: Mapped[int]")
    ended = shop.generate("next")
    assert ended.code == 0, ended.err
    (made,) = (path for path in shop.versions() if path.stem not in ("first", "second"))
    assert "drop_table" not in made.read_text().partition("def downgrade")[0]


def test_code_that_does_not_load_does_not_hide_a_model_that_is_not_imported(shop: Shop) -> None:
    """Who only made it load would run into the DROP TABLE next."""
    shop.write("app/items.py", ITEM)
    shop.edit("app/db.py", "import os", "import os\n\nos.environ['SECRET_KEY']")
    ended = shop.generate("next")
    assert_refused(
        ended, Exit.MODELS_MISSING, "app/items.py:6 class Item (table items)", "SECRET_KEY"
    )
    # Not where modules are imported by a rule: it may well be among them.
    rule = "for one in ('models', 'items'):\n    __import__(f'app.{one}')"
    shop.edit("alembic/env.py", "import app.models", rule)
    assert_refused(shop.generate("next"), Exit.BROKEN_PROJECT, "SECRET_KEY")


def test_seed_34_no_model_imported_at_all_is_refused(shop: Shop) -> None:
    shop.edit("alembic/env.py", "import app.models\n", "")
    ended = shop.generate("initial")
    assert_refused(ended, Exit.MODELS_MISSING, "no tables at all", "app/models.py")
    assert shop.versions() == []


def test_metadata_without_models_is_refused(shop: Shop) -> None:
    shop.write("app/models.py", "from app.db import Base\n")
    assert_refused(shop.generate("initial"), Exit.NO_CHANGES, "no tables", "app.db:Base")


def test_metadata_none_is_refused(shop: Shop) -> None:
    shop.edit("alembic/env.py", "Base.metadata", "None")
    assert_refused(shop.generate("initial"), Exit.EMPTY_METADATA, "target_metadata")


def test_several_heads_name_both_cures(shop: Shop) -> None:
    shop.add_revision("aaa1", None)
    shop.add_revision("bbb2", "aaa1")
    shop.add_revision("ccc3", "aaa1")
    ended = shop.generate("next")
    assert_refused(
        ended,
        Exit.SEVERAL_HEADS,
        "2 heads",
        "alembic merge -m 'merge heads'",
        "set down_revision =",
        "alembic/versions/bbb2.py",
        "alembic/versions/ccc3.py",
    )
    assert len(shop.versions()) == 3


def test_broken_model_names_file_and_line(shop: Shop) -> None:
    shop.edit(
        "app/models.py", "from app.db import Base", "from app.db import Base\n\nraise ValueError(7)"
    )
    ended = shop.generate("x")
    assert_refused(ended, Exit.BROKEN_PROJECT, "ValueError: 7", "app/models.py:6")
    ended = shop.generate("x", url=None)
    assert_refused(ended, Exit.AMBIGUOUS, "--dialect", "KeyError: 'DATABASE_URL' at app/db.py:5")


def test_missing_package_names_the_install_line(shop: Shop) -> None:
    shop.edit("app/db.py", "import os", "import os\n\nimport psycopg2")
    shop.write("uv.lock", "")
    ended = shop.generate("x")
    assert_refused(ended, Exit.MISSING_DEPENDENCY, "uv add psycopg2-binary")


@pytest.mark.any_sqlalchemy
def test_no_alembic_names_the_setup_script(shop: Shop) -> None:
    (shop.root / "alembic.ini").unlink()
    assert_refused(shop.generate("x"), Exit.NO_PROJECT, "setup-alembic.sh")


@pytest.mark.any_sqlalchemy
def test_two_ini_files_name_the_flag(shop: Shop) -> None:
    shop.write("other/alembic.ini", "[alembic]\nscript_location = %(here)s/scripts\n")
    shop.write("other/scripts/env.py", (shop.root / "alembic/env.py").read_text())
    shop.add_first()
    # The one in this folder is what `alembic` takes, too (#12).
    ended = shop.generate("x")
    assert ended.code == Exit.NO_CHANGES
    assert "alembic.ini is taken, in this folder, and not other/alembic.ini" in ended.err
    shop.write("more/alembic.ini", (shop.root / "alembic.ini").read_text())
    shop.edit("more/alembic.ini", "/alembic\n", "/../alembic\n")
    (shop.root / "alembic.ini").unlink()
    assert_refused(shop.generate("x"), Exit.AMBIGUOUS, "--ini")
    assert shop.generate("x", "--ini", "more/alembic.ini").code == Exit.NO_CHANGES


def test_old_migration_that_does_not_run_is_named(shop: Shop) -> None:
    shop.add_revision("aaa1", None, "op.drop_table('never_was')")
    ended = shop.generate("x")
    assert_refused(
        ended, Exit.PROOF_FAILED, "that are there do not run", "alembic/versions/aaa1.py:7"
    )


@pytest.mark.any_sqlalchemy
def test_new_migration_that_does_not_run_back_leaves_no_file(
    shop: Shop, make_database: Callable[[str], str]
) -> None:
    """A downgrade that leaves all behind: the second upgrade cannot work."""
    shop.edit("alembic/script.py.mako", '${downgrades if downgrades else "pass"}', "pass")
    before = shop.files()
    ended = shop.generate("x", url=make_database("postgresql"))
    assert_refused(ended, Exit.PROOF_FAILED, "second upgrade", 'relation "users" already exists')
    assert shop.files() == before


def test_missing_import_in_the_new_file_is_named(shop: Shop) -> None:
    shop.write(
        "app/money.py",
        "from sqlalchemy import Numeric\n\n\nclass Money(Numeric):\n    cache_ok = True\n",
    )
    shop.edit("app/models.py", "from app.db", "from app.money import Money\nfrom app.db")
    shop.edit(
        "app/models.py", "    nick:", "    paid: Mapped[float] = mapped_column(Money())\n    nick:"
    )
    # What the project renders itself is its own affair; an application's type is else its SQL,
    # with any env.py (#13).
    own = "lambda kind, item, _: type(item).__name__ == 'Money' and 'app.money.Money()'"
    shop.edit("alembic/env.py", "context.configure(", f"context.configure(render_item={own}, ")
    ended = shop.generate("x")
    assert_refused(ended, Exit.PROOF_FAILED, "add `import app` to script.py.mako")
    assert shop.versions() == []
    shop.edit("alembic/env.py", f"render_item={own}, ", "")
    assert shop.generate("x").code == 0
    assert "sa.Column('paid', sa.Numeric(), nullable=False)" in shop.versions()[0].read_text()


@pytest.mark.any_sqlalchemy
def test_template_that_writes_no_python_leaves_no_file(shop: Shop) -> None:
    shop.edit("alembic/script.py.mako", "def upgrade()", "def upgrade(")
    before = shop.files()
    ended = shop.generate("x")
    assert ended.code == Exit.PROOF_FAILED
    assert shop.files() == before


def test_a_difference_that_stays_is_a_warning(shop: Shop) -> None:
    shop.edit("app/models.py", "String(20), index=True", "String(20), server_default='x'")
    shop.edit(
        "alembic/env.py",
        "target_metadata=Base.metadata",
        "target_metadata=Base.metadata, compare_server_default=lambda *values: True",
    )
    ended = shop.generate("x", "--json")
    assert ended.code == 0, ended.err
    assert "still sees a difference" in json.loads(ended.out)["warnings"][0]
    assert "change column users.nick" in json.loads(ended.out)["warnings"][0]


@pytest.mark.any_sqlalchemy
def test_hook_of_a_missing_tool_costs_a_warning_not_the_file(shop: Shop) -> None:
    shop.edit("alembic.ini", "path_separator = os", INI + "tidy.type = console_scripts\n"
              "tidy.entrypoint = no-such-tool\n")  # fmt: skip
    ended = shop.generate("x")
    assert ended.code == 0, ended.err
    assert "warning: a post-write hook failed" in ended.out
    assert len(shop.versions()) == 1


INI = "path_separator = os\n\n[post_write_hooks]\nhooks = tidy\n"
HOOK = """
import sys

path = sys.argv[1]
text = open(path).read()
open(path, "w").write({edit})
"""
# What the hook does, what is in the file then, what is said.
HOOKS = (
    ("text + '# tidy\\n'", "# tidy", []),
    ("text.replace('import sqlalchemy as sa', 'import sqlalchemy as sa, os')", "sa, os", []),
    ("text.replace('op.create_table', 'op.no_such_thing')", "op.create_table", ["broke"]),
    ("'not python ('", "op.create_table", ["broke"]),
)


@pytest.mark.any_sqlalchemy
def test_hooks_run_in_place_and_cannot_break_the_file(shop: Shop) -> None:
    """One draft, put into the project four times."""
    shop.remove_environment()
    shop.edit("alembic.ini", "path_separator = os", INI + "tidy.type = exec\n"
              f"tidy.executable = {sys.executable}\n"
              f"tidy.options = -S {str(shop.root / 'hook.py').replace(' ', chr(92) + ' ')}"
              " REVISION_SCRIPT_FILENAME\n")  # fmt: skip
    project, wanted = read_project(shop.root), Wanted("x")
    said: list[str] = []
    with bench_at_head(project, wanted, said.append) as bench:
        draft = write_draft(bench, wanted, project.models)
        assert draft is not None
        bench.alembic("upgrade", draft.revision)
        for edit, kept, warned in HOOKS:
            shop.write("hook.py", HOOK.format(edit=edit))
            (bench.folder / draft.relative).write_text(draft.text)
            path, warnings = put_in_place(bench, draft, said.append)
            text = path.read_text()
            assert kept in text, edit
            assert "no_such_thing" not in text
            compile(text, path.name, "exec")
            assert len(warnings) == len(warned), warnings
            assert all(word in line for word, line in zip(warned, warnings, strict=True))
            path.unlink()
    assert sum("proving it again" in line for line in said) == 3, "all but what only tidies"


@pytest.mark.any_sqlalchemy
def test_project_with_a_package_called_toolkit(shop: Shop) -> None:
    """And modules called like ours: none of ours may be found first, or at all."""
    shop.write("toolkit/__init__.py", "")
    shop.write("toolkit/database.py", "NAME = 'users'\n")
    shop.write("guard.py", "LENGTH = 20\n")
    shop.write("urls.py", "LENGTH = 20\n")
    shop.edit(
        "app/models.py", "from app.db", "import toolkit.database\nimport guard, urls\nfrom app.db"
    )
    shop.edit("app/models.py", '"users"', "toolkit.database.NAME")
    shop.write(
        "app/__init__.py",
        "from importlib.util import find_spec\n\n"
        "assert find_spec('alembic_worker') is find_spec('run_toolkit') is None\n",
    )
    shop.edit("app/models.py", "String(20)", "String(guard.LENGTH + urls.LENGTH - 20)")
    ended = shop.generate("x")
    assert ended.code == 0, ended.err
    assert "create table users" in ended.out


@pytest.mark.any_sqlalchemy
def test_url_that_is_not_set(shop: Shop) -> None:
    ended = shop.generate("x", "--dialect", "sqlite", url=None)
    assert ended.code == 0, ended.err
    assert "DATABASE_URL is not set; working with SQLite (--dialect)" in ended.out
    assert "Proved on SQLite" in ended.out


@pytest.mark.any_sqlalchemy
def test_with_drivers_of_several_servers_a_person_says_which(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = read_project(shop.root)
    kinds: list[Kind] = ["postgresql", "mysql", "sqlite"]
    monkeypatch.setattr(situation, "async_driver_kinds", lambda: kinds)
    with pytest.raises(Refusal) as refused:
        situation.guess_kind(project, None)
    assert refused.value.problem.exit_code == Exit.AMBIGUOUS
    assert "--dialect" in refused.value.problem.remedy
    listed = shop.root / "requirements.txt"  # what the project asks for, says more (#12)
    listed.write_text("fastapi\naiosqlite\naiomysql\n", encoding="utf-8")
    asked = replace(project, dependency_file=listed)
    assert situation.guess_kind(asked, None) == ("mysql", "requirements.txt lists its driver")
    kinds.remove("mysql")
    assert situation.guess_kind(project, None)[0] == "postgresql"


def test_hard_coded_url_in_a_sync_env_goes_to_the_scratch(
    shop: Shop, make_database: Callable[[str], str]
) -> None:
    dev = make_database("mysql")
    address = make_url(dev).set(drivername="mysql+pymysql").render_as_string(hide_password=False)
    shop.edit("alembic.ini", "prepend", f"sqlalchemy.url = {address.replace('%', '%%')}\nprepend")
    shop.write(
        "alembic/env.py",
        "from alembic import context\nfrom sqlalchemy import engine_from_config, pool\n"
        "import app.models\nfrom app.db import Base\n"
        "section = context.config.get_section('alembic')\n"
        "engine = engine_from_config(section, poolclass=pool.NullPool)\n"
        "with engine.connect() as connection:\n"
        "    context.configure(connection=connection, target_metadata=Base.metadata)\n"
        "    with context.begin_transaction():\n"
        "        context.run_migrations()\n",
    )
    ended = shop.generate("x", url="unused")
    assert ended.code == 0, ended.err
    assert execute(make_url(dev), "SHOW TABLES") == []
    password = str(make_url(dev).password)
    assert password not in ended.out + ended.err


@pytest.mark.any_sqlalchemy
def test_role_that_may_not_create_databases(
    shop: Shop,
    make_database: Callable[[str], str],
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dev = make_url(make_database("postgresql"))
    monkeypatch.delenv(scratch.SCRATCH_VARIABLE)
    postgres_server.execute("CREATE ROLE plain_dev LOGIN PASSWORD 'pl41n-pw'")
    try:
        url = dev.set(username="plain_dev", password="pl41n-pw")
        ended = shop.generate("x", url=url.render_as_string(hide_password=False))
        assert ended.code == 0, ended.err
        assert "on a private server" in ended.out
        assert "pl41n-pw" not in ended.out + ended.err
    finally:
        postgres_server.execute("DROP ROLE plain_dev")


# The door's program, which notes each program that it starts and each time that it forks.
WATCHED = """
import json, runpy, sys
path = sys.argv[1]
def note(event, arguments):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork"):
        with open(path, "a") as log:
            log.write(json.dumps([event, repr(arguments)]) + chr(10))
sys.addaudithook(note)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.any_sqlalchemy
def test_no_password_in_any_command_line(
    shop: Shop, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    url = postgres_server.url("postgres")
    passwords = {str(make_url(url).password), url.partition("@")[0][-20:]}
    log, program = tmp_path / "log", DOOR.with_name("run_toolkit.py")
    arguments = ["-c", WATCHED, str(log), str(program), "generate", "x"]
    # The environment is handed over by the program, and is nobody else's to read.
    ended = warm.completed(*arguments, cwd=shop.root, environment=shop.environment(url))
    assert ended.returncode == 0, ended.stderr
    started = log.read_text()
    assert started.count('"os.fork"') > 3, "the worker and its commands were seen"
    for password in passwords:
        assert password not in started + ended.stdout + ended.stderr


@pytest.mark.any_sqlalchemy
def test_several_at_once_wait_for_each_other(shop: Shop) -> None:
    """The first is held up in env.py until the second has met it."""
    shop.write("held", "")
    shop.edit(
        "alembic/env.py",
        "asyncio.run(online())",
        "import pathlib, time\n\nwhile pathlib.Path('held').exists():\n    time.sleep(0.02)\n"
        "asyncio.run(online())",
    )
    first = shop.start("same change")
    wait_for(first, "reading")
    second = shop.start("same change")
    wait_for(second, "waiting for it")
    (shop.root / "held").unlink()
    for process in (first, second):
        process.communicate(timeout=240)
    assert (first.returncode, second.returncode) == (0, Exit.NO_CHANGES)
    assert len(shop.versions()) == 1


def wait_for(process: "subprocess.Popen[str]", words: str) -> None:
    """Until the process says so; it says what it is about to do."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return
    pytest.fail(f"it never said {words!r}: {said}")


@pytest.mark.any_sqlalchemy
def test_env_that_hangs_is_stopped(shop: Shop) -> None:
    shop.edit("alembic/env.py", "asyncio.run(online())", "import time\ntime.sleep(600)")
    ended = shop.generate("x", "--timeout", "1")
    assert ended.code != 0
    assert "--timeout" in ended.err


STAGES = ("reading", "scratch database", "comparing", "running it")


def is_ended(process: "subprocess.Popen[str]") -> None:
    """Wait for the process and for all that hold its output open: what it started."""
    process.communicate(timeout=120)


def left_over() -> set[str]:
    """Folders of runs that are gone: nobody holds their locks."""
    found = set()
    for parent in {tempfile.gettempdir(), "/tmp", "/dev/shm"}:
        for folder in Path(parent).glob(f"{scratch.PREFIX}*"):
            with contextlib.suppress(OSError), (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.add(folder.name)
    return found


def scratch_databases(url: str) -> set[str]:
    """And the roles that are made for them."""
    listing = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles"
    rows = execute(make_url(url), listing)
    return {str(name) for (name,) in rows if str(name).startswith(scratch.PREFIX)}


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("end", "when", "kind"),
    [
        (signal.SIGINT, "running it", "postgresql"),
        (signal.SIGTERM, "reading", "sqlite"),
        (signal.SIGHUP, "comparing", "sqlite"),
    ],
)
def test_interrupted_run_leaves_nothing(
    shop: Shop, end: signal.Signals, when: str, kind: str
) -> None:
    """With PostgreSQL on a private server: nobody listens at the address."""
    before = shop.files()
    files = left_over()
    process = shop.start("x", url=ADDRESS[kind])
    wait_for(process, when)
    os.kill(process.pid, end)
    is_ended(process)
    assert process.returncode == Exit.INTERRUPTED
    assert shop.files() == before
    assert left_over() <= files


@pytest.mark.any_sqlalchemy
def test_killed_at_each_stage(shop: Shop, make_database: Callable[[str], str]) -> None:
    """SIGKILL: nothing is in versions/ before it is proved; the next run drops every scratch."""
    url = make_database("postgresql")
    before = shop.files()
    for stage in STAGES:
        process = shop.start("x", url=url)
        wait_for(process, stage)
        os.kill(process.pid, signal.SIGKILL)
        is_ended(process)
        assert shop.files() == before, stage
    assert scratch_databases(url), "there is something to drop"
    ended = shop.generate("last", url=url)
    assert ended.code == 0, ended.err
    assert not scratch_databases(url)
    assert not left_over()


@pytest.mark.any_sqlalchemy
def test_killed_while_it_writes_the_file(tmp_path: Path) -> None:
    """Before each thing that it asks the system for: the file is whole or not there."""
    text = "x = 1\n" * 1000
    seen = []
    for point in range(1, 100):
        folder = tmp_path / str(point)
        folder.mkdir()
        child = os.fork()
        if child == 0:
            kill_at(point)
            install(text, folder / "new" / "made.py")
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        made = folder / "new" / "made.py"
        seen.append(made.exists())
        assert not made.exists() or made.read_text() == text
        sweep_halves(folder)
        left = {path for path in folder.rglob("*") if path.is_file()}
        assert left <= {made}
        if status == 0:
            break
    assert seen[0] is False and seen[-1] is True
    assert len(seen) > 4


def kill_at(point: int) -> None:
    """End this process, a fork, as it asks for its `point`th file."""
    left = itertools.count(1)

    def hook(event: str, _arguments: object) -> None:
        if event.startswith(("open", "os.")) and next(left) == point:
            os._exit(9)

    sys.addaudithook(hook)


@pytest.mark.any_sqlalchemy
def test_an_odd_message_makes_a_whole_file(shop: Shop) -> None:
    message = (
        '../../gr\u00fcn \u7a0e it\'s $(rm) `x` %s {y} ${z} say """hi""" ""\nback\\slash \\N{x}'
    )
    ended = shop.generate(message)
    assert ended.code == 0, ended.err
    (made,) = shop.versions()
    assert made.parent == shop.root / "alembic" / "versions"
    namespace: dict[str, object] = {}
    exec(compile(made.read_text(), str(made), "exec"), namespace)
    assert str(namespace["__doc__"]).startswith(" ".join(message.split()))


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("message", ["", "  \n ", "x" * 501, "bell\a", "\udcff"])
def test_messages_that_cannot_be(message: str) -> None:
    with pytest.raises(Refusal) as caught:
        clean_message(message)
    assert caught.value.problem.exit_code == Exit.USAGE


@pytest.mark.any_sqlalchemy
def test_file_name_that_is_too_long_is_said(shop: Shop) -> None:
    shop.edit("alembic.ini", "prepend", "truncate_slug_length = 400\nprepend")
    ended = shop.generate("w" * 500)
    assert_refused(ended, Exit.USAGE, "name would be longer", "truncate_slug_length")
    assert shop.versions() == []


@pytest.mark.any_sqlalchemy
def test_docstring_quoting() -> None:
    assert eval(f'"""{as_docstring(chr(92) + chr(34) * 4)}"""') == "\\" + '"' * 4


@pytest.mark.any_sqlalchemy
def test_password_in_an_option_is_refused(shop: Shop) -> None:
    ended = shop.generate("x", "--scratch-url", "postgresql://u:p@h/d")
    assert_refused(ended, Exit.USAGE, scratch.SCRATCH_VARIABLE)


@pytest.mark.any_sqlalchemy
def test_words() -> None:
    operations = [
        {"op": "CreateTable", "table": "a", "schema": "s", "columns": 1, "unique_constraints": 0,
         "foreign_keys": 2, "checks": 0},
        {"op": "CreateIndex", "table": "a", "schema": "s", "name": "i", "unique": True,
         "on": ["x"]},
        {"op": "CreateIndex", "table": "b", "name": "j", "on": ["x", "y"]},
        {"op": "DropTable", "table": "c"},
        {"op": "AlterColumn", "table": "b", "column": "x", "changes": ["NOT NULL"]},
        {"op": "CreateTableComment", "table": "b"},
    ]  # fmt: skip
    assert in_words(operations) == [
        "create table s.a (1 column, 2 foreign keys, 1 unique index)",
        "create index j on b (x, y)",
        "drop table c",
        "change column b.x: NOT NULL",
        "create table comment b",
    ]
    assert data_losses(operations) == ["drops the table c with all its rows"]
