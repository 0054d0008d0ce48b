"""Carries out a printed form on a table with rows while old and new code write to it.

The oracle is pg_dump: after the last revision the schema is the one that the plain revision
makes, after the way back it is the one from before. Every write that was acknowledged has to be
there, whoever wrote it. Alembic's own operations run the code, as they would in a file (#15).
"""

import itertools
import runpy
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import op
from psycopg.rows import tuple_row
from sqlalchemy.engine import make_url

from corpus import experiment

Steps = list[tuple[Callable[[], None], Callable[[], None]]]
"""upgrade() and downgrade() of each revision, in order."""
Write = tuple[str, str]
"""INSERT and UPDATE of row `{n}`."""


@dataclass(frozen=True)
class Writes:
    """What the code before and after the revision does to the table."""

    old: Write
    new: Write
    seen: str
    """A query that gives the row's value in the end, `changed{n}` or `{n}`."""
    seen_before: str = ""
    """The same in the schema before; `seen`, if empty."""
    loses: bool = False
    """The change itself loses the column or table: nothing is compared but the schema."""
    filled: str = ""
    """What a person fills old rows with before the second revision."""
    first: tuple[str, ...] = ()
    """What the revision does before the statement that the form stands for."""
    switched: bool = False
    """The new code is out before the revision runs, and no old code is left."""
    instead: str = ""
    """What the plain revision was meant to do, where it does not run."""
    not_back: tuple[str, ...] = ()
    """Lines of the dump that the way back does not bring back, by design."""


def same(insert: str, update: str, seen: str, **more: Any) -> Writes:
    return Writes((insert, update), (insert, update), seen, **more)


USERS = same(
    "INSERT INTO users (id, email, name) VALUES ({n}, 'e{n}@x', 'n{n}')",
    "UPDATE users SET nick = 'changed{n}' WHERE id = {n}",
    "SELECT nick FROM users WHERE id = {n}",
)
ORDERS = same(
    "INSERT INTO orders (id, user_id, number, total) VALUES ({n}, 1, {n}, 1)",
    "UPDATE orders SET note = 'changed{n}' WHERE id = {n}",
    "SELECT note FROM orders WHERE id = {n}",
)
ITEMS = same(
    "INSERT INTO items (id, order_id, kind) VALUES ({n}, 1, '')",
    "UPDATE items SET sku = 'changed{n}' WHERE id = {n}",
    "SELECT sku FROM items WHERE id = {n}",
)
SETTINGS = same(
    "INSERT INTO settings (key, value) VALUES ('k{n}', '')",
    "UPDATE settings SET value = 'changed{n}' WHERE key = 'k{n}'",
    "SELECT value FROM settings WHERE key = 'k{n}'",
)
EVENTS = same(
    "INSERT INTO events (id, at, kind) VALUES ({n}, '2025-06-01', '')",
    "UPDATE events SET kind = 'changed{n}' WHERE id = {n}",
    "SELECT kind FROM events WHERE id = {n}",
)
VISITS = same(
    "INSERT INTO visits (id, at, user_id) VALUES ({n}, '2025-06-01', 1)",
    "UPDATE visits SET user_id = 2 WHERE id = {n}",
    "SELECT {n} FROM visits WHERE id = {n} AND user_id = 2",
)
TICKETS = same(
    "INSERT INTO tickets (code) VALUES ('code{n}')",
    "UPDATE tickets SET code = 'changed{n}' WHERE code = 'code{n}' AND id > 0 AND number > 0",
    "SELECT code FROM tickets WHERE code = 'changed{n}' AND id > 150 AND number > 150",
)
BY_TABLE = {
    "users": USERS, "orders": ORDERS, "items": ITEMS, "settings": SETTINGS, "events": EVENTS,
    "events_2025": EVENTS, "events_2026": EVENTS, "order_counts": ORDERS, "letters": ORDERS,
    "visits": VISITS, "visits_2025": VISITS, "tickets": TICKETS,
}  # fmt: skip
NUMBERS = same(
    "INSERT INTO users (id, email, name) VALUES ({n}, 'e{n}@x', '1')",
    "UPDATE users SET name = '{n}' WHERE id = {n}",
    "SELECT name FROM users WHERE id = {n}",
)
NICKNAME = Writes(
    ("INSERT INTO users (id, email, nick) VALUES ({n}, 'e{n}', 'a')",
     "UPDATE users SET nick = 'changed{n}' WHERE id = {n}"),
    ("INSERT INTO users (id, email, nickname) VALUES ({n}, 'e{n}', 'b')",
     "UPDATE users SET nickname = 'changed{n}' WHERE id = {n}"),
    "SELECT nickname FROM users WHERE id = {n}",
    seen_before="SELECT nick FROM users WHERE id = {n}",
)  # fmt: skip


def renamed(table: str) -> Writes:
    """SETTINGS under another name."""
    new = (SETTINGS.new[0].replace("settings", table), SETTINGS.new[1].replace("settings", table))
    seen = SETTINGS.seen.replace("settings", table)
    return Writes(SETTINGS.old, new, seen, seen_before=SETTINGS.seen)


VISITOR = Writes(
    VISITS.old,
    ("INSERT INTO visits (id, at, visitor_id) VALUES ({n}, '2025-06-01', 1)",
     "UPDATE visits SET visitor_id = 2 WHERE id = {n}"),
    "SELECT {n} FROM visits WHERE id = {n} AND visitor_id = 2",
    seen_before=VISITS.seen,
)  # fmt: skip
SHORT = same(USERS.old[0], "UPDATE users SET nick = '{n}' WHERE id = {n}", USERS.seen)
WITHOUT_NICK = same(USERS.old[0], "UPDATE users SET city = 'changed{n}' WHERE id = {n}", "",
                    loses=True)  # fmt: skip
WRITES = {
    "add_not_null": Writes(
        USERS.old,
        ("INSERT INTO users (id, email, phone) VALUES ({n}, 'e{n}', '1')", USERS.old[1]),
        USERS.seen,
        filled="UPDATE users SET phone = '' WHERE phone IS NULL",
    ),
    "backfill_after_ddl": replace(USERS, first=("ALTER TABLE users ADD COLUMN handle text",)),
    "default_taken_away": Writes(
        USERS.old,
        ("INSERT INTO users (id, email, level) VALUES ({n}, 'e{n}', 1)", USERS.old[1]),
        USERS.seen,
        first=("ALTER TABLE users ADD COLUMN level int NOT NULL DEFAULT 0",),
        switched=True,
    ),
    "default_dropped": replace(
        ORDERS,
        new=(
            ORDERS.old[0].replace("(id,", "(id, status,").replace("({n}, 1", "({n}, 'new', 1"),
            ORDERS.old[1],
        ),
        switched=True,
    ),
    "drop_default_nullable": replace(
        USERS,
        new=("INSERT INTO users (id, email, joined) VALUES ({n}, 'e{n}', now())", USERS.old[1]),
        switched=True,
    ),
    "type_int_to_text": replace(
        USERS, first=("ALTER TABLE users DROP CONSTRAINT users_age_check",)
    ),
    "detach_partition": ORDERS,
    "drop_column": WITHOUT_NICK,
    "drop_required_column": Writes(
        ITEMS.old,
        ("INSERT INTO items (id, order_id) VALUES ({n}, 1)", ITEMS.old[1]),
        "",
        loses=True,
        not_back=("kind text NOT NULL", "kind text"),
    ),
    "drop_identity": replace(
        TICKETS,
        switched=True,
        new=("INSERT INTO tickets (id, code) VALUES ({n}, 'code{n}')", TICKETS.old[1]),
    ),
    "drop_table": replace(ORDERS, loses=True),
    "drop_partition": replace(ORDERS, loses=True),
    "index_concurrently_in_transaction": replace(
        USERS, instead="CREATE INDEX ix_users_name ON users (name)"
    ),
    "rename_as_drop_and_add": replace(
        NICKNAME, instead="ALTER TABLE users RENAME nick TO nickname"
    ),
    "rename_column": NICKNAME,
    "rename_column_raw": NICKNAME,
    "rename_on_partitioned": VISITOR,
    "rename_key_column": Writes(
        SETTINGS.old,
        tuple(one.replace("key", "name") for one in SETTINGS.old),
        SETTINGS.seen.replace("key", "name"),
        seen_before=SETTINGS.seen,
    ),
    "rename_identity_table": Writes(
        TICKETS.old,
        tuple(one.replace("tickets", "issues") for one in TICKETS.old),
        TICKETS.seen.replace("tickets", "issues"),
        seen_before=TICKETS.seen,
    ),
    "type_varchar_cut": SHORT,
    "rename_table": renamed("preferences"),
    "set_schema": renamed("archive.settings"),
    "type_text_to_int_using": NUMBERS,
    "unique_now_partial": replace(
        ORDERS,
        instead="CREATE UNIQUE INDEX orders_number_live ON orders (number) WHERE status <> 'sent'",
    ),
    "validate_in_same_transaction": replace(
        ORDERS,
        first=(
            "ALTER TABLE orders ADD CONSTRAINT orders_total_check CHECK (total >= 0) NOT VALID",
        ),
        not_back=(
            "CONSTRAINT orders_total_check CHECK ((total >= (0)::numeric))",
            "ADD CONSTRAINT orders_total_check CHECK ((total >= (0)::numeric)) NOT VALID;",
            "ALTER TABLE public.orders",
        ),
    ),
}
ROWS = (
    "INSERT INTO users (id, email, name, nick, city, age, payload) SELECT n, 'u' || n || '@x',"
    " n::text, CASE WHEN n % 3 > 0 THEN 'Nick' || n END, 'city', n, '{\"a\": 1}'"
    " FROM generate_series(1, 150) n",
    "INSERT INTO orders (id, user_id, number, total, reference, note)"
    " SELECT n, n, n, n, 'r' || n, n::text FROM generate_series(1, 150) n",
    "INSERT INTO items SELECT n, n, 's' || n, 'kind' FROM generate_series(1, 150) n",
    "INSERT INTO visits SELECT n, n, date '2025-01-01' + n FROM generate_series(1, 150) n",
    "INSERT INTO tickets (parent_id, code) SELECT nullif(n - 1, 0), 'c' || n"
    " FROM generate_series(1, 150) n",
    "INSERT INTO settings SELECT 'old' || n, n::text FROM generate_series(1, 150) n",
    "INSERT INTO events SELECT n, date '2025-01-01' + n, 'k' FROM generate_series(1, 150) n",
    "INSERT INTO events_2026 SELECT n, date '2026-01-01' + n, 'k' FROM generate_series(1, 150) n",
)
GRANTS = (
    "GRANT SELECT, UPDATE ON users, orders TO PUBLIC",
    "GRANT SELECT (city), UPDATE (name) ON users TO pg_monitor WITH GRANT OPTION",
    "GRANT ALL ON events, settings TO pg_monitor",
    "COMMENT ON COLUMN users.age IS 'in ''years'''",
    "COMMENT ON COLUMN users.name IS 'as on the letter box'",
)


def prepare(url: str, *, rows: bool) -> None:
    """Rows, rights and comments, of which the scratch database knows nothing."""
    with connected(url) as connection:
        for statement in (*(ROWS if rows else ()), *GRANTS):
            connection.execute(statement)
        connection.execute("REFRESH MATERIALIZED VIEW order_counts")


@dataclass
class Writer:
    """Inserts a row and changes it, over and over, until it is told to stop."""

    url: str
    statements: Write
    numbers: Iterator[int]
    written: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self) -> None:
        if self.is_alive():
            return
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.wait_for_more()

    def run(self) -> None:
        with connected(self.url) as connection:
            while not self.stop.is_set() and not self.failed:
                n = next(self.numbers)
                try:
                    for statement in self.statements:
                        done = connection.execute(statement.format(n=n))
                        if done.rowcount != 1:
                            self.failed.append(f"{statement.format(n=n)}: {done.rowcount} rows")
                    self.written.append(n)
                    self.stop.wait(0.002)  # the server's turn: it shares the processor
                except psycopg.Error as error:
                    self.failed.append(f"{statement.format(n=n)}: {error}")

    def wait_for_more(self) -> None:
        """Until it has written on: an event that is polled, not a time."""
        enough = len(self.written) + 3
        while len(self.written) < enough and not self.failed and self.is_alive():
            self.stop.wait(0.005)

    def is_alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def end(self) -> None:
        self.stop.set()
        if self.thread is not None:
            self.thread.join(60)
        assert not self.failed, self.failed


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    at = make_url(url)
    with psycopg.connect(
        host=at.host, port=at.port, user=at.username, password=at.password, dbname=at.database,
        autocommit=True, row_factory=tuple_row,
    ) as connection:  # fmt: skip
        yield connection


def functions(text: str) -> Steps:
    found: Steps = []
    text = text.replace("LIMIT 5000", "LIMIT 50")  # several batches of few rows
    for part in text.split("def upgrade()")[1:]:
        names: dict[str, Any] = {"op": op, "sa": sa}
        exec(compile("def upgrade()" + part, "form", "exec"), names)
        found.append((names["upgrade"], names["downgrade"]))
    assert found, text
    return found


def carry_out(url: str, function: Callable[[], None]) -> None:
    """As Alembic does by default: in one transaction, which autocommit_block ends."""
    with experiment.engine_for(url) as engine, experiment.migrating(engine):
        function()


def dump(url: str) -> list[str]:
    """The schema's lines, sorted: a copy of a column stands at the table's end."""
    address = make_url(url)
    done = subprocess.run(
        ["pg_dump", "--schema-only", "--no-owner", "-h", str(address.host), "-p", str(address.port),
         "-U", str(address.username), str(address.database)],
        capture_output=True, text=True, check=True, env={"PGPASSWORD": str(address.password)},
    )  # fmt: skip
    lines = (line.strip().rstrip(",") for line in done.stdout.splitlines())
    return sorted(
        line for line in lines if line and not line.startswith(("--", "\\", "SET ", "SELECT pg_"))
    )


def difference(one: list[str], other: list[str]) -> list[str]:
    return [f"- {line}" for line in one if line not in other] + [
        f"+ {line}" for line in other if line not in one
    ]


def plain_schema(path: Path | None, writes: Writes, url: str) -> list[str]:
    """What the revision in the file makes, without rows in its way."""

    def upgrade() -> None:
        if writes.instead or path is None:
            op.execute(writes.instead)
        else:
            runpy.run_path(str(path))["upgrade"]()

    carry_out(url, upgrade)
    return dump(url)


def writes_of(name: str, table: str | None) -> Writes:
    return WRITES.get(name) or BY_TABLE[(table or "users").rpartition(".")[2]]


def files(texts: Iterable[str]) -> Steps:
    """Of whole revision files."""
    found: Steps = []
    for text in texts:
        names: dict[str, Any] = {}
        exec(compile(text.replace("BATCH = 1000", "BATCH = 50"), "revision", "exec"), names)
        found.append((names["upgrade"], names["downgrade"]))
    return found


def check(steps: Steps, writes: Writes, url: str, plain: list[str]) -> int:
    """Up and down under writers; the number of revisions."""
    with connected(url) as connection:
        for statement in writes.first:
            connection.execute(statement)
    before = dump(url)
    numbers = itertools.count(1_000_000)
    old, new = Writer(url, writes.old, numbers), Writer(url, writes.new, numbers)
    files = tables_files(url)
    upwards(steps, writes, old, new)
    anew = {name for name, file in tables_files(url).items() if files.get(name, file) != file}
    assert not anew, f"written anew: {anew}"
    made = difference(dump(url), plain)
    assert not made, "\n".join(made)
    written = [*old.written, *new.written]
    if not writes.loses:
        all_there(url, written, writes.seen)
        new.start()
    again = Writer(url, writes.old, numbers)
    if downwards(steps, writes, again, new):
        left = [one for one in difference(dump(url), before) if one[2:] not in writes.not_back]
        assert not left, "\n".join(left)
        if not writes.loses:
            written += [*new.written, *again.written]
            all_there(url, written, writes.seen_before or writes.seen)
    return len(steps)


def tables_files(url: str) -> dict[str, int]:
    """Each table's file: another one means that all of it was written anew."""
    with connected(url) as connection:
        asked = "SELECT oid::text, relfilenode FROM pg_class WHERE relkind = 'r' AND oid > 16384"
        return dict(connection.execute(asked).fetchall())


def upwards(steps: Steps, writes: Writes, old: Writer, new: Writer) -> None:
    """Old code until the last of several revisions, new code from after the first."""
    several = len(steps) > 1
    if writes.switched:
        new.start()
    elif several or not writes.loses:
        old.start()
    for number, (up, _) in enumerate(steps):
        if several and number == len(steps) - 1:
            old.end()
            if writes.filled:
                with connected(old.url) as connection:
                    connection.execute(writes.filled)
        carry_out(old.url, up)
        if number == 0 and (several or writes.loses):
            new.start()
        for writer in (old, new):
            writer.wait_for_more()
    old.end()


def downwards(steps: Steps, writes: Writes, old: Writer, new: Writer) -> bool:
    """The other way round; False where a revision says that there is no way back."""
    several = len(steps) > 1
    try:
        for number, (_, down) in reversed(list(enumerate(steps))):
            if number == 0 and (several or writes.loses):
                new.end()
            carry_out(new.url, down)
            if several and number == len(steps) - 1 and not writes.loses:
                old.start()
    except NotImplementedError:
        return False
    finally:
        new.end()
        old.end()
    return True


def all_there(url: str, written: list[int], seen: str) -> None:
    assert written
    with connected(url) as connection:
        for n in written:
            row = connection.execute(seen.format(n=n)).fetchone()
            assert row is not None, f"row {n} is gone"
            assert str(row[0]) in (f"changed{n}", str(n)), (n, row)
