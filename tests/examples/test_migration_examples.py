"""The revisions of examples/migrations: up and down over rows, and the locks that they claim."""

import ast
import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

import migration_examples as example
from projects import warm

pytestmark = pytest.mark.older_sqlalchemy_on("sqlite", "postgresql")

EXAMPLES = Path(example.__file__).parent
HEAD = "merge_phone_and_note"
NAMES = "SELECT name, full_name FROM shop_customer ORDER BY id"


@pytest.fixture
def database_url(
    request: pytest.FixtureRequest,
    dialect: str,
    make_database: Callable[[str], str],
    filled: Callable[..., str],
    tmp_path: Path,
) -> str:
    """Empty, or at the revision of the test's mark `begins_at`, which is made once and copied."""
    mark = request.node.get_closest_marker("begins_at")
    if mark is None:
        return make_database(dialect)
    (revision,) = mark.args

    def fill(url: str) -> None:
        up(example.make_project(tmp_path / "before", url), revision)

    return filled(dialect, f"shop_{revision}", fill)


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Config:
    return example.make_project(tmp_path / "a project", database_url)


def up(config: Config, *targets: str) -> None:
    for target in targets:
        command.upgrade(config, target)


def current(url: str) -> list[str]:
    return [row[0] for row in example.execute(url, "SELECT version_num FROM shop_version")]


def edit(config: Config, revision: str, old: str, new: str) -> None:
    file = Path(str(config.config_file_name)).parent / "alembic/versions" / f"{revision}.py"
    source = file.read_text()
    assert old in source
    file.write_text(source.replace(old, new))


def program(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return warm.completed(*arguments, environment=os.environ | variables)


# The program


def test_seed_row_45_migration_examples_exists_and_runs(database_url: str) -> None:
    result = program(str(EXAMPLES / "migration_examples.py"), database_url)
    assert result.returncode == 0, result.stderr
    assert "down and up again: 6 customers, 6 orders, 4 lines, as before" in result.stdout
    assert "differences between the two: none" in result.stdout
    assert "3000000000" in result.stdout
    assert example.schema(database_url) == {}
    assert example._tables(database_url) == []


def test_without_an_argument_it_takes_a_temporary_database() -> None:
    result = program(str(EXAMPLES / "migration_examples.py"))
    assert result.returncode == 0, result.stderr
    titles = re.findall(r"^(\w+) +\S", result.stdout, re.MULTILINE)
    assert {file.stem for file in example.SHOP.glob("*.py")} <= set(titles)


@pytest.mark.dialects("sqlite")
def test_it_refuses_a_database_that_has_such_a_table(database_url: str) -> None:
    example.execute(database_url, "CREATE TABLE shop_order (id integer)")
    result = program(str(EXAMPLES / "migration_examples.py"), database_url)
    assert result.returncode == 1
    assert result.stderr == "error: the database has tables already: shop_order\n"
    assert "shop_order" in example.schema(database_url)
    wrong = program(str(EXAMPLES / "migration_examples.py"), "nonsense")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ")
    assert "Traceback" not in wrong.stderr


# Up and down, over rows


@pytest.mark.older_sqlalchemy_on("postgresql")
def test_every_revision_goes_up_and_back_over_rows(config: Config, database_url: str) -> None:
    """Each way back leads to the schema that was there before, and keeps the rows."""
    shapes: dict[str, Any] = {}
    history = [revision for revision, _ in example.revisions(config)]
    line = history[: history.index("order_customer_fk_valid") + 1]
    for revision in line:
        up(config, revision)
        if revision in example.SCENES:
            assert example.play(database_url, revision)
        shapes[revision] = example.schema(database_url)
    example.execute(database_url, "UPDATE shop_order SET total_cents = 7 WHERE total_cents > 9999")
    counts = example.execute(database_url, example.COUNTS)
    assert counts == [(6, 6, 4)]
    for revision in reversed(line[:-1]):
        command.downgrade(config, revision)
        assert example.schema(database_url) == shapes[revision], revision
        assert example.execute(database_url, example.COUNTS) == counts, revision
    up(config, "head")
    assert example.execute(database_url, example.COUNTS) == counts


@pytest.mark.begins_at("head")
def test_seed_39_enum_types_survive_downgrade_and_upgrade(
    config: Config, database_url: str, dialect: str
) -> None:
    command.downgrade(config, "base")
    assert example.schema(database_url) == {}
    if dialect == "postgresql":
        types = "SELECT typname FROM pg_type WHERE typname LIKE 'shop_state%'"
        assert example.execute(database_url, types) == []
        functions = "SELECT proname FROM pg_proc WHERE proname LIKE 'shop_%'"
        assert example.execute(database_url, functions) == []
    up(config, "head")
    order = "INSERT INTO shop_customer (id, email) VALUES (1, 'a@b.c')"
    place = "INSERT INTO shop_order (id, customer_id, total_cents, state) VALUES ({}, 1, 1, '{}')"
    example.execute(database_url, order, place.format(1, "refunded"))
    with pytest.raises(DBAPIError):
        example.execute(database_url, place.format(2, "returned"))


@pytest.mark.begins_at("typed_contract")
def test_seed_39_an_added_enum_value_can_be_written(
    config: Config, database_url: str, dialect: str
) -> None:
    row = (
        "INSERT INTO shop_order (id, customer_id, total_cents, state) VALUES (1, 1, 1, 'refunded')"
    )
    with pytest.raises(DBAPIError):
        example.execute(database_url, row)
    up(config, "state_refunded")
    example.execute(database_url, row)
    state = "SELECT state FROM shop_order"
    assert example.execute(database_url, state) == [("refunded",)]
    command.downgrade(config, "typed_contract")
    assert example.execute(database_url, state) == [("returned",)]


@pytest.mark.begins_at("shop")
def test_seed_40_every_constraint_has_a_name_and_a_rebuild_keeps_the_rows(
    config: Config, database_url: str, dialect: str
) -> None:
    example.play(database_url, "shop")
    lines = "SELECT id, order_id, product FROM shop_line ORDER BY id"
    before = example.execute(database_url, lines)
    up(config, "head")
    assert example.execute(database_url, lines) == before
    for table in example.schema(database_url).values():
        for kind in ("foreign keys", "indexes", "checks"):
            assert all(item[0] not in (None, "None") for item in table[kind])
    # The foreign keys work, those of the rebuilt table and those that lead to it.
    with pytest.raises(IntegrityError):
        example.execute(
            database_url, "INSERT INTO shop_order (id, customer_id, total_cents) VALUES (9, 999, 1)"
        )
    example.execute(database_url, "DELETE FROM shop_order WHERE id = 1")
    assert [row[0] for row in example.execute(database_url, lines)] == [2, 3]
    if dialect == "sqlite":
        assert example.execute(database_url, "PRAGMA foreign_key_check") == []


@pytest.mark.begins_at("bigint_swap")
@pytest.mark.dialects("sqlite", "postgresql")
def test_seed_41_a_failed_revision_leaves_nothing_and_can_run_again(
    config: Config, database_url: str
) -> None:
    example.execute(
        database_url,
        "INSERT INTO shop_order (id, customer_id, total_cents, details) VALUES (1, 1, 1, '{}')",
    )
    before = example.schema(database_url)
    edit(config, "typed_expand", "    create_triggers()\n\n\ndef down", "    1 / 0\n\n\ndef down")
    with pytest.raises(ZeroDivisionError):
        up(config, "typed_expand")
    assert example.schema(database_url) == before
    assert current(database_url) == ["bigint_swap"]
    edit(config, "typed_expand", "    1 / 0\n", "    create_triggers()\n")
    up(config, "head")


@pytest.mark.begins_at("head")
def test_seed_43_59_a_revision_by_hand_has_its_ids_and_needs_no_formatter(
    config: Config, database_url: str
) -> None:
    written = command.revision(config, message="by hand")
    assert written is not None and not isinstance(written, list)
    source = Path(str(written.path)).read_text()
    assert f'revision: str = "{written.revision}"' in source.replace("'", '"')
    assert f'= "{HEAD}"' in source.replace("'", '"')
    up(config, "head")
    assert current(database_url) == [written.revision]


def test_seed_58_the_alembic_command_runs_from_the_project_alone(
    config: Config, database_url: str
) -> None:
    root = Path(str(config.config_file_name)).parent
    for arguments in (["upgrade", "head"], ["current", "--check-heads"], ["downgrade", "base"]):
        environment = os.environ | {"DATABASE_URL": database_url}
        result = warm.completed("-m", "alembic", *arguments, cwd=root, environment=environment)
        assert result.returncode == 0, result.stderr
    assert current(database_url) == []


# Two versions of the application


@pytest.mark.begins_at("full_name_expand")
def test_old_and_new_code_see_one_name(config: Config, database_url: str) -> None:
    assert example.play(database_url, "full_name_expand") == [("Dora D.",) * 2, ("Emil E.",) * 2]
    write = "UPDATE shop_customer SET {} WHERE id = 1"
    for change, both in (
        ("name = NULL", None),
        ("full_name = 'x'", "x"),
        ("full_name = NULL", None),
        ("name = 'y', full_name = 'z'", "z"),
        ("email = 'other'", "z"),
        ("name = 'z'", "z"),
    ):
        rows = example.execute(database_url, write.format(change), NAMES)
        assert rows[0] == (both, both), change
    command.downgrade(config, "-1")
    names = "SELECT name FROM shop_customer ORDER BY id"
    assert example.execute(database_url, names) == [("z",), ("Emil E.",)]


@pytest.mark.begins_at("full_name_expand")
def test_a_contract_that_is_undone_keeps_both_columns_equal_again(
    config: Config, database_url: str
) -> None:
    example.play(database_url, "full_name_expand")
    up(config, "full_name_contract")
    example.execute(database_url, "UPDATE shop_customer SET full_name = 'new' WHERE id = 1")
    command.downgrade(config, "-1")
    example.execute(database_url, "UPDATE shop_customer SET name = 'old' WHERE id = 2")
    assert example.execute(database_url, NAMES) == [("new", "new"), ("old", "old")]


@pytest.mark.begins_at("full_name_contract")
def test_bigint_is_filled_while_the_old_column_is_written(
    config: Config, database_url: str, dialect: str
) -> None:
    add = "INSERT INTO shop_order (id, customer_id, total_cents) VALUES ({0}, 1, {0})"
    example.execute(database_url, add.format(1))
    up(config, "bigint_expand")
    example.execute(database_url, add.format(2))
    up(config, "bigint_backfill")
    example.execute(database_url, add.format(3), "UPDATE shop_order SET total_cents = 9 WHERE id=1")
    up(config, "bigint_swap")
    totals = "SELECT id, total_cents FROM shop_order ORDER BY id"
    assert example.execute(database_url, totals) == [(1, 9), (2, 2), (3, 3)]
    example.execute(database_url, f"UPDATE shop_order SET total_cents = {2**40} WHERE id = 1")
    assert example.execute(database_url, totals)[0] == (1, 2**40)
    assert "total_cents_new" not in str(example.schema(database_url))


@pytest.mark.begins_at("bigint_swap")
def test_a_status_that_is_no_state_is_refused_before_anything_is_changed(
    config: Config, database_url: str
) -> None:
    add = "INSERT INTO shop_order (id, customer_id, total_cents, status) VALUES (1, 1, 1, 'lost')"
    example.execute(database_url, add)
    before = example.schema(database_url)
    with pytest.raises(CommandError, match=r"no state: \['lost'\]"):
        up(config, "typed_expand")
    assert example.schema(database_url) == before


@pytest.mark.begins_at("typed_expand")
def test_json_text_and_json_stay_equal(config: Config, database_url: str, dialect: str) -> None:
    number = {"postgresql": "attributes->>'n'", "sqlite": "json_extract(attributes, '$.n')"}.get(
        dialect, "JSON_EXTRACT(attributes, '$.n')"
    )
    rows = example.execute(
        database_url,
        "INSERT INTO shop_order (id, customer_id, total_cents, details) "
        "VALUES (1, 1, 1, '{\"n\": 1}')",
        "UPDATE shop_order SET details = '{\"n\": 2}' WHERE id = 1",
        f"SELECT {number}, details FROM shop_order",
    )
    assert [str(value) for value in rows[0]] == ["2", '{"n": 2}']
    rows = example.execute(
        database_url,
        "UPDATE shop_order SET attributes = '{\"n\": 3}' WHERE id = 1",
        f"SELECT {number}, details FROM shop_order",
    )
    assert [str(value) for value in rows[0]] == ["3", '{"n": 3}']


@pytest.mark.begins_at("email_backfill")
def test_an_old_row_with_null_cannot_be_changed_under_a_not_valid_check(
    config: Config, database_url: str, dialect: str
) -> None:
    """Why the backfill comes before the CHECK."""
    add = "INSERT INTO shop_customer (id, name) VALUES (1, 'Ada')"
    example.execute(database_url, add)
    up(config, "email_check")
    if dialect == "postgresql":
        with pytest.raises(IntegrityError, match="ck_shop_customer_email"):
            example.execute(database_url, "UPDATE shop_customer SET name = 'Bob'")
    with pytest.raises(DBAPIError):
        up(config, "email_not_null")
    command.downgrade(config, "index_concurrently")
    up(config, "email_not_null")
    with pytest.raises(DBAPIError, match="email"):
        example.execute(database_url, add.replace("1,", "2,"))


@pytest.mark.begins_at("shop")
def test_a_data_migration_may_run_twice(config: Config, database_url: str) -> None:
    example.play(database_url, "shop")
    up(config, "orphan_orders")
    command.downgrade(config, "order_customer_fk")
    up(config, "order_customer_fk_valid")
    stand_ins = "SELECT count(*) FROM shop_customer WHERE full_name = 'unknown customer'"
    assert example.execute(database_url, stand_ins) == [(1,)]


@pytest.mark.begins_at("shop")
def test_orphans_that_are_left_stop_the_validation(
    config: Config, database_url: str, dialect: str
) -> None:
    example.play(database_url, "shop")
    edit(config, "orphan_orders", "    op.execute(sa.update(order)", "    (sa.update(order)")
    up(config, "orphan_orders")
    with pytest.raises(IntegrityError if dialect == "postgresql" else CommandError):
        up(config, "order_customer_fk_valid")
    assert current(database_url) == ["orphan_orders"]


def test_revisions_import_nothing_of_an_application() -> None:
    files = [*example.SHOP.glob("*.py"), *example.SQUASHED.glob("*.py")]
    assert len(files) == 23
    allowed = sys.stdlib_module_names | {"alembic", "sqlalchemy"}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed, file


# Branches and squash


def test_two_heads_are_refused_and_merged(config: Config, database_url: str) -> None:
    root = Path(str(config.config_file_name)).parent
    (root / f"alembic/versions/{HEAD}.py").unlink()
    with pytest.raises(CommandError, match="Multiple head revisions"):
        up(config, "head")
    merge = command.merge(config, "heads", message="both")
    assert merge is not None
    up(config, "head")
    assert current(database_url) == [merge.revision]
    columns = [column[0] for column in example.schema(database_url)["shop_customer"]["columns"]]
    assert columns == ["email", "full_name", "id", "note", "phone"]


@pytest.mark.begins_at("shop")
def test_a_new_and_an_old_database_end_at_the_same_head(
    config: Config, database_url: str, dialect: str, make_database: Callable[[str], str],
    tmp_path: Path,
) -> None:  # fmt: skip
    example.play(database_url, "shop")
    up(config, "head")
    other = make_database(dialect)
    new = example.make_project(tmp_path / "new", other, example.SQUASHED)
    old = example.open_project(tmp_path / "new", database_url)
    for squashed, url in ((new, other), (old, database_url)):
        command.upgrade(squashed, "head")
        assert current(url) == [HEAD]
    assert example.schema(database_url) == example.schema(other)
    assert example.execute(database_url, example.COUNTS) == [(4, 3, 4)]
    command.downgrade(old, "base")
    assert example.schema(database_url) == {}


@pytest.mark.begins_at("bigint_swap")
@pytest.mark.dialects("sqlite")
def test_a_database_behind_a_squash_is_refused(
    config: Config, database_url: str, tmp_path: Path
) -> None:
    squashed = example.make_project(tmp_path / "squashed", database_url, example.SQUASHED)
    with pytest.raises(CommandError, match="Can't locate revision identified by 'bigint_swap'"):
        command.upgrade(squashed, "head")
    up(config, "head")
    command.upgrade(squashed, "head")


@pytest.mark.dialects("postgresql", "mysql")
def test_the_sql_script_makes_the_same_database(
    config: Config, database_url: str, dialect: str, make_database: Callable[[str], str]
) -> None:
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    script = config.output_buffer.getvalue()
    statements = [part.strip().rstrip(";") for part in re.split(r";\n\n+", script)]
    statements = [re.sub(r"^(--.*\n+)+", "", part) for part in statements]
    run_script(database_url, [part for part in statements if part and not part.startswith("--")])
    other = make_database(dialect)
    up(example.open_project(Path(str(config.config_file_name)).parent, other), "head")
    assert example.schema(database_url) == example.schema(other)
    assert current(database_url) == [HEAD]


def run_script(url: str, statements: list[str]) -> None:
    async def run() -> None:
        manager = example.DatabaseSessionManager(example.DatabaseConfig(url))
        async with manager as database, database.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            for statement in statements:
                await connection.exec_driver_sql(statement.replace("%%", "%"))

    asyncio.run(run())


# Backfills

UPGRADE = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import logging
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
import _setup, migration_examples
from alembic import command
command.upgrade(migration_examples.open_project(Path(sys.argv[1]), sys.argv[2]), "email_backfill")
"""


@pytest.mark.begins_at("index_concurrently")
@pytest.mark.dialects("postgresql", "mysql")
def test_a_backfill_that_was_killed_goes_on_where_it_stopped(
    config: Config, database_url: str, dialect: str
) -> None:
    rows = ", ".join(f"({number}, 'n')" for number in range(1, 301))
    example.execute(database_url, f"INSERT INTO shop_customer (id, name) VALUES {rows}")
    # Counts how often each row is written.
    counting = {
        "postgresql": [
            "CREATE TABLE writes (id integer)",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO writes VALUES (NEW.id); RETURN NEW; END $$",
            "CREATE TRIGGER note AFTER UPDATE ON shop_customer FOR EACH ROW "
            "EXECUTE FUNCTION note()",
        ],
        "mysql": [
            "CREATE TABLE writes (id integer)",
            "CREATE TRIGGER note AFTER UPDATE ON shop_customer FOR EACH ROW "
            "INSERT INTO writes VALUES (NEW.id)",
        ],
    }[dialect]
    example.execute(database_url, *counting)
    edit(config, "email_backfill", "BATCH = 1000", "BATCH = 20")
    edit(config, "email_backfill", "PAUSE = 0.01", "PAUSE = 0.1")
    root = str(Path(str(config.config_file_name)).parent)
    arguments = [warm.python(), "-c", UPGRADE, root, database_url, str(EXAMPLES)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "e-mails up to id 80, 220 left" in line:
                process.send_signal(signal.SIGKILL)
                break
    left = "SELECT count(*) FROM shop_customer WHERE email IS NULL"
    assert 0 < example.execute(database_url, left)[0][0] <= 220
    assert current(database_url) == ["index_concurrently"]
    up(config, "email_backfill")
    assert example.execute(database_url, left) == [(0,)]
    each = "SELECT count(*), count(DISTINCT id) FROM writes"
    assert example.execute(database_url, each) == [(300, 300)]


@pytest.mark.begins_at("index_concurrently")
@pytest.mark.dialects("postgresql", "mysql")
def test_a_backfill_locks_only_the_rows_of_its_batch(
    config: Config, database_url: str, dialect: str
) -> None:
    rows = ", ".join(f"({number}, 'n')" for number in range(1, 101))
    example.execute(database_url, f"INSERT INTO shop_customer (id, name) VALUES {rows}")
    edit(config, "email_backfill", "BATCH = 1000", "BATCH = 5")
    edit(config, "email_backfill", "PAUSE = 0.01", "PAUSE = 0.2")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(command.upgrade, config, "email_backfill")
        done = "SELECT count(*) FROM shop_customer WHERE email IS NOT NULL"
        while example.execute(database_url, done) == [(0,)]:
            time.sleep(0.02)
        # A row that is done already, and one that is not yet; behind a lock they would wait for
        # the end of all.
        for number in (1, 100):
            example.execute(database_url, f"UPDATE shop_customer SET name='x' WHERE id={number}")
        assert example.execute(database_url, done)[0][0] < 100
        running.result(timeout=60)
    names = "SELECT count(*) FROM shop_customer WHERE name = 'x'"
    assert example.execute(database_url, names) == [(2,)]


# Locks on PostgreSQL


class Traced:
    """One DDL statement: the locks that it left, whether it read or wrote the tables."""

    def __init__(self, statement: str) -> None:
        self.statement = statement
        self.locks: set[tuple[str, str]] = set()
        self.scans = 0
        self.rewritten = False


OBSERVE = """
    SELECT c.relname, c.relfilenode, coalesce(s.seq_scan, 0),
        array(SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = c.oid)
    FROM pg_class c LEFT JOIN pg_stat_xact_user_tables s ON s.relid = c.oid
    WHERE c.relname IN ('shop_customer', 'shop_order') ORDER BY 1
"""


@contextmanager
def traced() -> Iterator[list[Traced]]:
    found: list[Traced] = []
    before: list[Any] = []

    def is_ddl(statement: str) -> bool:
        return bool(re.match(r"\s*(ALTER|CREATE|DROP)\b(?! TABLE shop_version)", statement))

    def earlier(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if is_ddl(statement):
            before[:] = connection.exec_driver_sql(OBSERVE).all()

    def later(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if not is_ddl(statement):
            return
        entry = Traced(statement)
        old = {row[0]: row for row in before}
        for name, node, scans, modes in connection.exec_driver_sql(OBSERVE).all():
            entry.locks |= {(name, mode) for mode in modes if mode != "AccessShareLock"}
            entry.scans += scans - old[name][2]
            entry.rewritten |= node != old[name][1]
        found.append(entry)

    event.listen(Engine, "before_cursor_execute", earlier)
    event.listen(Engine, "after_cursor_execute", later)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", earlier)
        event.remove(Engine, "after_cursor_execute", later)


def trace(config: Config, revision: str) -> list[Traced]:
    with traced() as found:
        up(config, revision)
    return found


BRIEF = [
    "email_check",
    "full_name_expand",
    "full_name_contract",
    "bigint_expand",
    "bigint_swap",
    "typed_expand",
    "typed_contract",
    "state_refunded",
    "order_customer_fk",
    "customer_phone",
]


@pytest.mark.begins_at("shop")
@pytest.mark.dialects("postgresql")
def test_no_step_reads_or_writes_the_table_under_a_strong_lock(
    config: Config, database_url: str
) -> None:
    example.play(database_url, "shop")
    seen: dict[str, list[Traced]] = {}
    for revision, _ in example.revisions(config):
        seen[revision] = trace(config, revision)
    for revision in BRIEF:
        assert seen[revision], revision
        for entry in seen[revision]:
            # VALIDATE reads, in a transaction of its own; a test below writes beside it.
            if "VALIDATE" in entry.statement:
                assert entry.locks == set()
                continue
            assert (entry.scans, entry.rewritten) == (0, False), entry.statement
    not_null = [entry for entry in seen["email_not_null"] if "SET NOT NULL" in entry.statement]
    assert [(entry.scans, entry.rewritten) for entry in not_null] == [(0, False)]
    assert ("shop_customer", "AccessExclusiveLock") in not_null[0].locks
    locks = {lock for entry in seen["order_customer_fk"] for lock in entry.locks}
    assert {mode for _, mode in locks} == {"ShareRowExclusiveLock", "RowShareLock"} or locks == {
        ("shop_order", "ShareRowExclusiveLock"),
        ("shop_customer", "ShareRowExclusiveLock"),
    }
    # What the texts warn of.
    assert any(entry.rewritten for entry in seen["state_returned_removed"])
    assert not any(entry.locks for entry in seen["state_refunded"])


@pytest.mark.begins_at("bigint_swap")
@pytest.mark.dialects("postgresql")
def test_the_trace_sees_a_scan_and_a_rewrite(config: Config, database_url: str) -> None:
    """Else the test above would prove nothing."""
    edit(config, "typed_expand", "    create_triggers()\n\n\ndef down", "    bad()\n\n\ndef down")
    bad = (
        "def bad():\n"
        "    op.execute('ALTER TABLE shop_order ALTER total_cents TYPE integer')\n"
        "    op.execute('ALTER TABLE shop_order ALTER details SET NOT NULL')\n\n\n"
    )
    edit(config, "typed_expand", "def upgrade()", f"{bad}def upgrade()")
    entries = trace(config, "typed_expand")
    assert [entry.rewritten for entry in entries if "TYPE integer" in entry.statement] == [True]
    assert [entry.scans for entry in entries if "SET NOT NULL" in entry.statement] == [1]


@contextmanager
def open_writer(url: str) -> Iterator[Callable[..., Any]]:
    """A transaction of another connection that has written to both tables, and stays open."""
    loop = asyncio.new_event_loop()

    async def begin() -> asyncpg.Connection:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO shop_customer (id, email) VALUES (77, 'w@x.y')")
        await connection.execute(
            "INSERT INTO shop_order (id, customer_id, total_cents) VALUES (77, 77, 1)"
        )
        return connection

    connection = loop.run_until_complete(begin())
    try:
        yield lambda statement: loop.run_until_complete(connection.fetch(statement))
        if loop.run_until_complete(connection.fetchval("SELECT true")):
            loop.run_until_complete(connection.execute("COMMIT"))
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


def quick(config: Config) -> None:
    """Make lock_timeout 300 ms, to see soon that a statement waits."""
    file = Path(str(config.config_file_name)).parent / "alembic/env.py"
    source = file.read_text()
    assert "lock_timeout = '4s'" in source
    file.write_text(source.replace("lock_timeout = '4s'", "lock_timeout = '300ms'"))


@pytest.mark.begins_at("orphan_orders")
@pytest.mark.dialects("postgresql")
def test_a_foreign_key_is_validated_beside_a_writer(config: Config, database_url: str) -> None:
    quick(config)
    with open_writer(database_url) as write:
        up(config, "order_customer_fk_valid")
        write("UPDATE shop_order SET total_cents = 2 WHERE id = 77")
    assert example.execute(
        database_url, "SELECT convalidated FROM pg_constraint WHERE conname LIKE 'fk_shop_order_%'"
    ) == [(True,)]


@pytest.mark.begins_at("email_check")
@pytest.mark.dialects("postgresql")
def test_a_revision_gives_up_soon_behind_a_writer_and_runs_again(
    config: Config, database_url: str
) -> None:
    """lock_timeout: not NULL was validated beside the writer, the strong lock is not waited for."""
    quick(config)
    valid = "SELECT convalidated FROM pg_constraint WHERE conname = 'ck_shop_customer_email'"
    with open_writer(database_url) as write:
        with pytest.raises(DBAPIError, match="lock timeout"):
            up(config, "email_not_null")
        assert [row["convalidated"] for row in write(valid)] == [True]
    assert current(database_url) == ["email_check"]
    up(config, "email_not_null")
    assert example.execute(database_url, valid) == []


@pytest.mark.begins_at("shop")
@pytest.mark.dialects("postgresql")
def test_an_index_is_built_beside_writers_without_a_lock_timeout(
    config: Config, database_url: str
) -> None:
    quick(config)
    building = (
        "SELECT 1 FROM pg_locks WHERE relation = 'shop_order'::regclass AND granted "
        "AND mode = 'ShareUpdateExclusiveLock'"
    )
    with ThreadPoolExecutor() as pool, open_writer(database_url) as write:
        build = pool.submit(command.upgrade, config, "index_concurrently")
        deadline = time.monotonic() + 60
        while not write(building):
            assert time.monotonic() < deadline and not build.done(), build
            time.sleep(0.02)
        example.execute(
            database_url,
            "SET LOCAL lock_timeout = '1s'",
            "INSERT INTO shop_order (id, customer_id, total_cents) VALUES (1, 1, 1)",
        )
        time.sleep(0.6)  # twice the timeout that other statements have
        assert not build.done()
        write("COMMIT")
        build.result(timeout=60)
    assert current(database_url) == ["index_concurrently"]


@pytest.mark.begins_at("shop")
@pytest.mark.dialects("postgresql")
def test_an_invalid_index_of_a_failed_build_is_replaced(config: Config, database_url: str) -> None:
    add = "INSERT INTO shop_order (id, customer_id, total_cents) VALUES ({}, 1, 1)"
    example.execute(database_url, add.format(1), add.format(2))
    unique = "CREATE UNIQUE INDEX CONCURRENTLY ix_shop_order_customer_id ON shop_order(customer_id)"
    with pytest.raises(IntegrityError):
        run_script(database_url, [unique])
    state = (
        "SELECT indisvalid, indisunique FROM pg_index "
        "WHERE indexrelid = 'ix_shop_order_customer_id'::regclass"
    )
    assert example.execute(database_url, state) == [(False, True)]
    up(config, "index_concurrently")
    assert example.execute(database_url, state) == [(True, False)]
    command.downgrade(config, "shop")
    assert example.schema(database_url)["shop_order"]["indexes"] == []


@pytest.mark.begins_at("typed_expand")
@pytest.mark.dialects("postgresql")
def test_text_does_not_go_into_an_enum_of_the_same_name(config: Config, database_url: str) -> None:
    """Why the typed columns have new names."""
    with pytest.raises(DBAPIError, match="is of type shop_state but expression is of type"):
        example.execute(
            database_url,
            "INSERT INTO shop_order (id, customer_id, total_cents, state) "
            "VALUES (1, 1, 1, CAST('paid' AS varchar))",
        )


@pytest.mark.begins_at("typed_contract")
@pytest.mark.dialects("postgresql")
def test_an_added_enum_value_is_not_used_in_its_transaction(
    config: Config, database_url: str
) -> None:
    """Why ADD VALUE is in an autocommit block."""
    add = "ALTER TYPE shop_state ADD VALUE 'refunded'"
    use = "SELECT 'refunded'::shop_state"
    with pytest.raises(DBAPIError, match="unsafe use of new value"):
        example.execute(database_url, add, use)
    edit(
        config,
        "state_refunded",
        "IF NOT EXISTS 'refunded'\")\n",
        f'IF NOT EXISTS \'refunded\'")\n        op.execute("{use}")\n',
    )
    up(config, "state_refunded")
