"""What each task demands of the project that an agent leaves, by its behaviour only.

    python evals/checkers.py TASK    in the project's folder, with the project's interpreter

Exit code 0: it does what the task says; 1: it does not, and the line says what was seen. Nothing
depends on how it is written: requests go to `app.main:app`, rows are read with a connection of
our own, migrations are run by Alembic.
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

Check = Callable[["Shop"], Awaitable[None]]


class Shop:
    """The running application, and its database seen from outside."""

    def __init__(self, client: Any, file: Path) -> None:
        self.client = client
        self.file = file

    def sql(self, statement: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.file, timeout=60)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def customers(self, *names: str, balance: int = 0) -> None:
        for name in names:
            self.sql(
                "INSERT INTO customers (email, name, password_hash, balance) VALUES (?, ?, ?, ?)",
                f"{name}@example.org", name, f"hash-of-{name}", balance,
            )  # fmt: skip

    def orders(self, number: int, customer: int = 1) -> None:
        for total in range(number):
            self.sql("INSERT INTO orders (customer_id, total) VALUES (?, ?)", customer, total)

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.client.get(path)
        expect(answer.status_code == status, f"GET {path}: {answer.status_code}")
        return answer.json()


class Wrong(Exception):
    """What was seen instead."""


def expect(right: bool, seen: str) -> None:
    if not right:
        raise Wrong(seen)


# Over HTTP


async def commit_before_answer(shop: Shop) -> None:
    new = {"email": "ada@example.org", "name": "Ada"}
    first = await shop.client.post("/signup", json=new)
    expect(first.status_code == 201, f"the first sign-up: {first.status_code}")
    again = await shop.client.post("/signup", json=new)
    rows = shop.sql("SELECT count(*) FROM customers")[0][0]
    expect(rows == 1, f"{rows} rows after two sign-ups of one address")
    expect(again.status_code >= 400, f"the second sign-up: {again.status_code}, and no row")


async def one_statement_for_names(shop: Shop) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    seen: list[str] = []
    event.listen(Engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    counts = []
    for number in (2, 30):
        shop.customers(*(f"n{number}-{index}" for index in range(number)))
        for (key,) in shop.sql("SELECT id FROM customers WHERE name LIKE ?", f"n{number}-%"):
            shop.orders(1, key)
        seen.clear()
        rows = await shop.get("/orders")
        counts.append(len(seen))
        wanted = shop.sql("SELECT name FROM customers JOIN orders ON customer_id = customers.id "
                          "ORDER BY orders.id")  # fmt: skip
        expect([row["name"] for row in rows] == [name for (name,) in wanted], "other rows")
    expect(counts[0] == counts[1] > 0, f"{counts[0]} statements for 2 orders, {counts[1]} for 32")


async def orders_of_a_customer(shop: Shop) -> None:
    shop.customers("Ada", "Bob")
    shop.orders(3)
    expect(await shop.get("/customers/1/orders") == [0, 1, 2], "other orders")
    expect(await shop.get("/customers/2/orders") == [], "orders of somebody else")


async def no_overdraft(shop: Shop) -> None:
    shop.customers("Ada", balance=50)
    answers = await asyncio.gather(
        *(shop.client.post("/accounts/1/withdraw?amount=10") for _ in range(20)),
        return_exceptions=True,
    )
    paid = 10 * sum(getattr(one, "status_code", 500) == 200 for one in answers)
    left = shop.sql("SELECT balance FROM customers")[0][0]
    expect(paid + left == 50, f"{paid} paid out of 50, and {left} left")
    shop.sql("UPDATE customers SET balance = 5")
    refused = await shop.client.post("/accounts/1/withdraw?amount=10")
    expect(400 <= refused.status_code < 500, f"10 out of 5: {refused.status_code}")
    left = shop.sql("SELECT balance FROM customers")[0][0]
    expect(left == 5, f"{left} left of 5 after a refusal")


async def newest_first(shop: Shop) -> None:
    shop.customers("Ada")
    shop.orders(130)
    too_many = await shop.client.get("/orders/newest?limit=1000")
    if too_many.status_code == 200:
        expect(len(too_many.json()["items"]) <= 100, "more than 100 at once")
    seen: list[int] = []
    query = ""
    for _ in range(10):
        page = await shop.get(f"/orders/newest?limit=50{query}")
        seen += page["items"]
        if page["next"] is None:
            break
        query = f"&after={page['next']}"
        shop.orders(7)  # somebody buys meanwhile
    expect(seen == list(range(130, 0, -1)), f"{len(seen)} shown, {len(set(seen))} of 130")


async def search_for_what_is_typed(shop: Shop) -> None:
    shop.customers("50% off", "500 off", "a_b", "axb", "back\\slash", "plain")
    for typed, wanted in {
        "50%": ["50% off"], "a_b": ["a_b"], "\\": ["back\\slash"], "la": ["back\\slash", "plain"],
    }.items():  # fmt: skip
        answer = await shop.client.get("/search", params={"q": typed})
        expect(answer.json() == wanted, f"{typed!r} finds {answer.json()}")


async def sort_by_what_is_public(shop: Shop) -> None:
    shop.customers("b", "a")
    shop.sql("UPDATE customers SET email = 'z@example.org' WHERE name = 'a'")
    expect(await shop.get("/sorted?sort=name") == ["a", "b"], "not by name")
    expect(await shop.get("/sorted?sort=-name") == ["b", "a"], "not by name, backwards")
    expect(await shop.get("/sorted?sort=email") == ["b", "a"], "not by e-mail")
    for secret in ("password_hash", "-password_hash", "orders", "nothing", "__table__"):
        answer = await shop.client.get(f"/sorted?sort={secret}")
        expect(400 <= answer.status_code < 500, f"sort={secret}: {answer.status_code}")


async def no_hash_in_answers(shop: Shop) -> None:
    shop.customers("Ada")
    answer = await shop.client.get("/customers/1")
    expect(answer.status_code == 200 and answer.json()["email"] == "Ada@example.org", answer.text)
    expect("hash-of-Ada" not in answer.text, "the hash of the password is in the answer")


async def instants_stay_what_they_are(shop: Shop) -> None:
    instant = datetime.fromisoformat("2026-03-01T12:00:00+02:00")
    made = await shop.client.post("/events", json={"starts_at": instant.isoformat()})
    expect(made.status_code == 201, f"POST /events: {made.status_code}")
    told = datetime.fromisoformat((await shop.get("/events/1"))["starts_at"])
    expect(told.tzinfo is not None, f"{told} is of no time zone")
    expect(told == instant, f"{instant} became {told}")
    naive = await shop.client.post("/events", json={"starts_at": "2026-03-01T12:00:00"})
    expect(naive.status_code == 422, f"a time of no zone: {naive.status_code}")


async def numbers_of_a_dashboard(shop: Shop) -> None:
    shop.customers("Ada", "Bob")
    shop.orders(4)
    for _ in range(3):
        found = await shop.get("/dashboard")
        expect(found == {"customers": 2, "orders": 4, "total": 6}, f"it says {found}")


async def all_or_nothing(shop: Shop) -> None:
    done = await shop.client.post("/import", json=["a@example.org", "b@example.org"])
    expect(done.status_code == 201, f"two new ones: {done.status_code}")
    part = await shop.client.post("/import", json=["c@example.org", "a@example.org", "d@x.org"])
    expect(400 <= part.status_code < 500, f"one that is there: {part.status_code}")
    rows = shop.sql("SELECT count(*) FROM customers")[0][0]
    expect(rows == 2, f"{rows} rows, of 2 that were imported")


# Migrations


def alembic(*arguments: str) -> None:
    """Raises Wrong for what Alembic refuses."""
    from alembic.config import CommandLine, Config
    from alembic.util import CommandError

    main = CommandLine()
    options = main.parser.parse_args(arguments)
    try:
        with redirect_stdout(StringIO()):
            main.run_cmd(Config("alembic.ini"), options)
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, CommandError) else f"{type(error).__name__}: "
        said = str(error).splitlines() or [""]
        raise Wrong(f"alembic {' '.join(arguments)}: {kind}{said[0]}") from error


def set_up_alembic(shop: Shop) -> None:
    alembic("upgrade", "head")
    tables = {name for (name,) in shop.sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
    expect({"customers", "orders", "events"} <= tables, f"DATABASE_URL's database has {tables}")
    alembic("check")


def with_a_row(shop: Shop, change: Callable[[], None], column: str) -> None:
    """Up with a row from the first revision, there and back."""
    alembic("upgrade", "0001")
    shop.customers("Ada")
    alembic("upgrade", "head")
    alembic("check")
    change()
    found = shop.sql(f"SELECT {column} FROM customers")
    expect(found == [("Ada",)], f"after the upgrade there is {found}")
    alembic("downgrade", "0001")
    found = shop.sql("SELECT name FROM customers")
    expect(found == [("Ada",)], f"after the downgrade there is {found}")


def columns(shop: Shop) -> dict[str, bool]:
    """Whether it has to have a value."""
    return {row[1]: bool(row[3]) for row in shop.sql("PRAGMA table_info(customers)")}


def a_column_that_is_required(shop: Shop) -> None:
    def required() -> None:
        expect(columns(shop).get("phone", False), "phone may be NULL, or is not there")

    with_a_row(shop, required, "name")


def a_column_with_another_name(shop: Shop) -> None:
    def renamed() -> None:
        expect("name" not in columns(shop), "the old column is there")

    with_a_row(shop, renamed, "full_name")


def a_table_that_is_forgotten(shop: Shop) -> None:
    alembic("upgrade", "head")
    found = shop.sql("SELECT count(*) FROM sqlite_master WHERE name = 'invoices'")
    expect(found == [(1,)], "no table of invoices")
    alembic("check")


HTTP = (
    commit_before_answer, one_statement_for_names, orders_of_a_customer, no_overdraft,
    newest_first, search_for_what_is_typed, sort_by_what_is_public, no_hash_in_answers,
    instants_stay_what_they_are, numbers_of_a_dashboard, all_or_nothing,
)  # fmt: skip
MIGRATIONS = (
    set_up_alembic, a_column_that_is_required, a_column_with_another_name,
    a_table_that_is_forgotten,
)  # fmt: skip
TASKS = {check.__name__.replace("_", "-"): check for check in (*HTTP, *MIGRATIONS)}


@contextmanager
def database() -> Iterator[Path]:
    """A file of its own, which DATABASE_URL names for all that is imported from here on."""
    # A connection that the application left open may have its journal there a moment longer.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "checked.db"
        os.environ["DATABASE_URL"] = f"sqlite+aiosqlite:///{file}"
        yield file


async def over_http(check: Check, file: Path) -> None:
    import httpx
    from app.main import app  # type: ignore[import-not-found]
    from app.models import Base  # type: ignore[import-not-found]
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        await check(Shop(client, file))


def main(task: str) -> int:
    sys.path.insert(0, str(Path.cwd()))
    check: Any = TASKS[task]
    try:
        with database() as file:
            if check in HTTP:
                asyncio.run(over_http(check, file))
            else:
                check(Shop(None, file))
    except Wrong as error:
        print(error)
        return 1
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).splitlines()[:1]}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
