"""Each revision of the corpus on rows, under old code: its verdicts are what was seen (#15).

Nothing of the toolkit runs here. A verdict in a revision's first line that no experiment bears out
is an opinion, and fails.
"""

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from corpus import experiment, forms
from corpus.runner import CORPUS, Case, cases, copy_of
from servers.postgres import PostgresServer

pytestmark = pytest.mark.any_sqlalchemy

OLD_CODE = (
    "SELECT id, email, name, nick, age FROM users",
    "INSERT INTO users (id, email, name, nick, age) VALUES (1000, 'h@x', 'Hal', 'ha', 20)",
    "UPDATE users SET nick = 'z', age = 31 WHERE id = 1",
)
OF_ORDERS = (
    "SELECT id, user_id, total, state FROM orders",
    "INSERT INTO orders (id, user_id, total) VALUES (1000, 1, 1)",
    "INSERT INTO orders (total) VALUES (1)",
    "UPDATE orders SET state = 'sent' WHERE id = 1",
)
SMALL_ROWS = (
    "INSERT INTO users (id, email, name, nick, age, bio) VALUES (1, 'a@x', 'Ada', 'ad', 30, 'b'),"
    " (2, 'b@x', 'Bob', 'bo', 40, 'c'), (7, 'g@x', 'Gus', 'gu', 50, 'd')",
    "INSERT INTO orders (id, user_id, total, state) VALUES (1, 1, 5, 'new'), (2, 2, 6, 'paid'),"
    " (7, 7, 7, 'new'), (8, 7, 8, 'new')",
)
ON_SQLITE = (
    *OLD_CODE,
    *OF_ORDERS,
    "SELECT id, t FROM notes",
    "INSERT INTO notes (t) VALUES ('n')",
    # An order has the number of its mark, which is deleted by then.
    "INSERT INTO orders (id, total) SELECT coalesce(max(seq), 0) + 1, 1 FROM sqlite_sequence"
    " WHERE name = 'marks'",
)
ON_MYSQL = (*OLD_CODE, *OF_ORDERS, "SELECT id, email FROM active_users")
ON_POSTGRESQL = (
    *OLD_CODE,
    "SELECT id, email FROM active_users",
    "SELECT user_id, count FROM order_counts",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY order_counts",
    "SELECT id, user_id, number, status, total, note, placed, reference FROM orders",
    "INSERT INTO orders (id, user_id, number, total) VALUES (1000, 1, 1000, 1)",
    "UPDATE orders SET status = 'paid' WHERE id = 1",
    "INSERT INTO orders (id, user_id, number) VALUES (1, 1, 1) ON CONFLICT (number) DO NOTHING",
    "INSERT INTO orders (id, user_id) VALUES (1, 1)"
    " ON CONFLICT ON CONSTRAINT orders_pkey DO NOTHING",
    "INSERT INTO orders (id, user_id, number) VALUES (1000, 1, 1)"
    " ON CONFLICT ON CONSTRAINT orders_number_key DO NOTHING",
    "INSERT INTO items (id, order_id, sku, kind) VALUES (1000, 1, 's', 'k')",
    "INSERT INTO items (order_id, sku, kind) VALUES (1, 's', 'k')",
    "INSERT INTO settings (key, value) VALUES ('old1', 'v') ON CONFLICT (key) DO NOTHING",
    "UPDATE settings SET value = 'v' WHERE key = 'old1'",
    "INSERT INTO events (id, at, kind) VALUES (1000, '2025-06-01', 'k')",
    "INSERT INTO visits (id, at, user_id) VALUES (1000, '2025-06-01', 1)",
    "INSERT INTO tickets (code) VALUES ('c')",
    "INSERT INTO tickets (id, code) VALUES (1000, 'c')",
    # As a driver sends an enum.
    "SELECT id FROM orders WHERE status = 'paid'::status",
    "SELECT id FROM archive.letters WHERE body = 'Dear'::text",
    "SELECT id, body FROM archive.letters",
    "UPDATE orders SET status = 'sent' WHERE id = 1",
    "INSERT INTO tickets (code) VALUES ('c') ON CONFLICT (lower(code), id) WHERE id > 0 DO NOTHING",
    "INSERT INTO users (email, name, nick, city, age) VALUES ('s@x', 'S', 's', 'c', 1)",
    "SELECT id FROM users WHERE age > 18",
    "DO $$ BEGIN PERFORM 1; END $$",
    # What it relies on, without a statement that says so: the trigger, and its function.
    "SELECT 1 / count(*) FROM pg_trigger WHERE tgname = 'users_touch' AND tgenabled = 'O'",
    "SELECT 'touch()'::regprocedure",
    # As another role than the owner.
    "SET LOCAL ROLE pg_monitor; SELECT id FROM users",
    "SET LOCAL ROLE pg_monitor; SELECT user_id FROM visits",
    "SET LOCAL ROLE pg_monitor; SELECT 1 / count(*) FROM archive.letters",
    "SET LOCAL ROLE pg_monitor; INSERT INTO orders (id, user_id) VALUES (1001, 1)",
)
MORE_ROWS = (
    "INSERT INTO items (id, order_id, sku, kind) VALUES (400, 4, 'old', 'k')",
    "UPDATE users SET nick = 'Nick1' WHERE id = 2",
    "UPDATE users SET nick = 'Nick of them all' WHERE id = 3",
    "INSERT INTO settings VALUES ('u1@x', 'v')",
    "UPDATE orders SET status = 'paid', total = 1.25 WHERE id < 9",
    "INSERT INTO orders (id, user_id, number, placed) VALUES (400, 1, 400, '2001-01-01')",
    "INSERT INTO archive.letters VALUES (1, 'Dear')",
    "SELECT setval('users_id_seq', 5000)",
    "SELECT setval('items_id_seq', 5000)",
    "GRANT SELECT ON users TO PUBLIC",
    "GRANT SELECT, INSERT ON orders TO pg_monitor",
    "GRANT USAGE ON SCHEMA archive TO pg_monitor",
    "GRANT SELECT ON archive.letters TO pg_monitor",
    "ALTER TABLE visits OWNER TO pg_monitor",
    "REFRESH MATERIALIZED VIEW order_counts",
)
BY_DESIGN = {
    "sqlite": {
        "safe_allowed": "its finding is allowed in the file",
        "safe_one_row": "deletes one row by its key, as it says",
        "swap_for_empty": "the way back finds the old table",
        "unique_index_on_state": "whether rows are alike, an empty database does not tell",
    },
    "mysql": {
        "event_that_deletes": "its time does not come during the test",
        "safe_allowed": "its finding is allowed in the file",
        "swap_by_copy": "what is written meanwhile is lost, not the rows",
        "swap_for_empty": "the way back finds the old table",
        "unique_index_on_state": "whether rows are alike, an empty database does not tell",
        **dict.fromkeys(
            ("type_text_to_int", "type_text_to_json"),
            "whether values fit, an empty database does not tell",
        ),
    },
    "postgresql": {
        "safe_allowed": "its finding is allowed in the file",
        "set_unlogged": "rows are gone after a crash only",
        "swap_by_copy": "rights and what is written meanwhile are lost, not the rows",
        "swap_for_empty": "the way back finds the old table",
        **dict.fromkeys(
            ("index_plain_autocommit", "reindex_schema", "vacuum_full"),
            "no transaction is open behind it, so nobody is seen to wait",
        ),
        **dict.fromkeys(
            (
                "attach_partition",
                "backfill_not_batched",
                "delete_old_rows",
                "delete_using_join",
                "update_by_other_table",
                "update_composite_key",
            ),
            "who waits writes to rows that the old code here does not",
        ),
        "several_statements": "this driver sends them; asyncpg does not",
    },
}


def of(kind: str) -> list[object]:
    return [pytest.param(case, id=case.name) for case in cases(CORPUS / kind)]


def judge(case: Case, url: str, kind: str, old_code: tuple[str, ...]) -> None:
    seen = experiment.observe(case.path, url, old_code)
    wrong = experiment.disagreement(case.expected, seen, kind)
    assert bool(wrong) == (case.name in BY_DESIGN[kind]), (sorted(case.expected), wrong, seen)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("experiments") / "base.db"
    marked = ("INSERT INTO marks (id) VALUES (2), (900)", "DELETE FROM marks WHERE id = 900")
    rows = (*SMALL_ROWS, "INSERT INTO notes (id, t) VALUES (1, 'x')", *marked)
    experiment.prepare(CORPUS / "sqlite" / "base.py", f"sqlite:///{file}", rows)
    return file


@pytest.mark.filterwarnings("ignore:Unnamed CHECK")  # which is what some of them are about
@pytest.mark.parametrize("case", of("sqlite"))
def test_sqlite(case: Case, small: Path, tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    shutil.copyfile(small, file)
    judge(case, f"sqlite:///{file}", "sqlite", ON_SQLITE)


@pytest.mark.parametrize("case", of("mysql"))
@pytest.mark.sweep(every=15)
def test_mysql(case: Case, make_database: Callable[[str], str]) -> None:
    url = make_database("mysql")
    experiment.prepare(CORPUS / "mysql" / "base.py", url, SMALL_ROWS)
    judge(case, url, "mysql", ON_MYSQL)


@pytest.fixture(scope="module")
def filled(postgres_server: PostgresServer) -> Iterator[str]:
    name = f"asp_experiments_{uuid.uuid4().hex[:12]}"
    postgres_server.create_database(name)
    try:
        url = postgres_server.url(name)
        experiment.prepare(CORPUS / "postgresql" / "base.py", url, (*forms.ROWS, *MORE_ROWS))
        yield name
    finally:
        postgres_server.drop_database(name)


@pytest.mark.parametrize("case", of("postgresql"))
@pytest.mark.sweep(every=20)
def test_postgresql(case: Case, postgres_server: PostgresServer, filled: str) -> None:
    with copy_of(postgres_server, filled, f"asp_test_{uuid.uuid4().hex[:12]}") as url:
        assert make_url(url).database
        judge(case, url, "postgresql", ON_POSTGRESQL)
