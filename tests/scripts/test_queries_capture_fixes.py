"""What the rules about captured statements say, and whether their fixes give the same answers.

The fixes are run: their code, in a session on the database that the application has left.
"""

import asyncio
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectin_polymorphic, selectinload

from toolkit.queries.capture import findings_of, routes_of, watch_requests
from toolkit.queries.capture.record import Capture
from toolkit.queries.capture.requests import parse_requests
from toolkit.queries.capture.seen import union_ms
from toolkit.queries.finding import Loader, QueryFinding

APP = """
import asyncio
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import ForeignKey, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncAttrs, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20)
Factory = async_sessionmaker(engine, expire_on_commit=False)


class Base(AsyncAttrs, DeclarativeBase):
    pass


class Ticket(Base):
    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str] = mapped_column(default="x")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "plain"}


class Bug(Ticket):
    __tablename__ = "bugs"
    id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    severity: Mapped[int] = mapped_column(default=3)
    __mapper_args__ = {"polymorphic_identity": "bug"}


class Claim(Ticket):
    amount: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "claim"}


class Node(Base):
    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    children: Mapped[list["Node"]] = relationship()


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    product: Mapped[int]
    place: Mapped[str] = mapped_column(default="a")
    quantity: Mapped[int]
    price: Mapped[int]


class Owner(Base):
    __tablename__ = "owners"
    id: Mapped[int] = mapped_column(primary_key=True)
    cars: Mapped[list["Car"]] = relationship()


class Car(Base):
    __tablename__ = "cars"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id"))


@asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with Factory() as session:
        for _ in range(6):
            session.add_all([Bug(), Claim(amount=2), Ticket()])
        session.add(Node(id=1, children=[Node(id=n) for n in range(2, 8)]))
        await session.flush()
        session.add_all([Node(id=10 + n, parent_id=n) for n in range(2, 8)])
        session.add_all([Node(id=20 + n, parent_id=10 + n) for n in range(2, 8)])
        session.add_all([Owner(cars=[Car(), Car()]) for _ in range(8)])
        await session.commit()
        rows = [
            {"product": n % 8, "place": "ab"[n % 2], "quantity": n % 7, "price": n % 11 + 1}
            for n in range(1500)
        ]
        await session.execute(insert(Item), rows)
        await session.commit()
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


def label(ticket):
    if isinstance(ticket, Bug):
        return ticket.severity  # finds: n-plus-one
    if isinstance(ticket, Claim):
        return ticket.amount  # finds: n-plus-one
    return None


@app.get("/polymorphic")
async def polymorphic():
    async with Factory() as session:
        tickets = (await session.scalars(select(Ticket).order_by(Ticket.id))).all()  # TICKETS
        return await session.run_sync(lambda _: [label(one) for one in tickets])


@app.get("/polymorphic-raises")
async def polymorphic_raises():
    async with Factory() as session:
        ticket = (await session.scalars(select(Ticket).where(Ticket.kind == "bug"))).first()
        return ticket.severity  # finds: lazy-load-would-raise


def branch(node):
    return [branch(child) for child in node.children]  # finds: n-plus-one


@app.get("/tree")
async def tree():
    async with Factory() as session:
        query = select(Node).where(Node.parent_id.is_(None))
        roots = (await session.scalars(query)).all()  # ROOTS
        await session.scalar(select(func.count(Node.id)))
        return await session.run_sync(lambda _: [branch(one) for one in roots])


@app.get("/sums")
async def sums(places: int = 6):
    async with Factory() as session:
        for key in list(range(places)):
            query = select(func.sum(Item.quantity)).where(Item.product == key)
            await session.scalar(query)  # finds: n-plus-one
        for key in list(range(places)):
            total = func.coalesce(func.sum(Item.quantity), 0)
            query = select(total).where(Item.product == key, Item.place == "a")
            await session.scalar(query)  # finds: n-plus-one
        for key in list(range(places)):
            query = select(func.count(Item.price.distinct())).where(Item.product == key)
            await session.scalar(query)  # finds: n-plus-one
        for key in list(range(places)):
            query = select(func.sum(Item.quantity * Item.price)).where(Item.product == key)
            await session.scalar(query.where(Item.price > 2))  # finds: n-plus-one
        for key in list(range(places)):
            query = select(func.count()).select_from(Item).where(Item.product == key)
            await session.scalar(query)  # finds: n-plus-one


@app.get("/page")
async def page(number: int):
    async with Factory() as session:
        query = select(Item).order_by(Item.price.desc(), Item.id)
        await session.scalars(query.limit(5).offset(number))  # finds: deep-offset
        query = select(Item).order_by(Item.price.desc(), Item.id.desc())
        await session.scalars(query.limit(5).offset(number))  # finds: deep-offset
        query = select(Item.id).order_by(func.abs(Item.price), Item.id)
        await session.scalars(query.limit(5).offset(number))  # finds: deep-offset


@app.get("/everything")
async def everything():
    async with Factory() as session:
        await session.scalars(select(Item).order_by(Item.quantity))  # finds: unbounded-result


class Repository:
    def __init__(self, session, model):
        self.session = session
        self.model = model

    async def one(self, key):
        return await self.session.get(self.model, key)  # GENERIC


@app.get("/generic")
async def generic():
    async with Factory() as session:
        owners = Repository(session, Owner)
        mine = [await owners.one(key) for key in (1, 2, 3, 4, 5, 6)]  # CALLER
        return [len(await one.awaitable_attrs.cars) for one in mine]  # finds: n-plus-one


async def run(session, query):
    return (await session.scalars(query)).all()  # SHARED


@app.get("/shared")
async def shared():
    async with Factory() as session:
        await run(session, select(Node))
        owners = await run(session, select(Owner))
        return [len(await one.awaitable_attrs.cars) for one in owners]  # finds: n-plus-one


@app.post("/savepoints")
async def savepoints(n: int = 9):
    async with Factory() as session:
        for number in list(range(n)):
            async with session.begin_nested():
                session.add(Item(product=number, quantity=1, price=1))
        await session.commit()


@app.get("/core")
async def core(n: int = 6):
    async with engine.connect() as connection:
        for key in list(range(n)):
            query = text("SELECT price FROM items WHERE id = :id")
            await connection.execute(query, {"id": key})  # finds: n-plus-one
    async with Factory() as session:
        for key in list(range(n)):
            items = Item.__table__
            query = select(items.c.price).where(items.c.id == key)
            await session.execute(query)  # finds: n-plus-one


@app.post("/core-writes")
async def core_writes(n: int = 6):
    async with engine.begin() as connection:
        for key in list(range(1, n)):
            query = text("UPDATE items SET place = 'c' WHERE id = :id")
            await connection.execute(query, {"id": key})  # finds: write-in-loop


@app.get("/fixed")
async def fixed():
    async with Factory() as session:
        for key in range(1, 21):
            await session.scalar(select(Item.price).where(Item.id == key))  # finds: n-plus-one
        for key in range(1, 10):
            await session.scalar(select(Item.price).where(Item.id == key))
        for key in range(12):
            session.add(Owner())
            await session.commit()  # finds: commit-in-loop


@app.get("/twice")
async def twice():
    async with Factory() as session:
        for key in [1, 1, 1, 2, 3, 4] * int("1"):
            await session.scalar(select(Item.price).where(Item.id == key))  # finds: n-plus-one


async def alone(number):
    async with Factory() as session:
        await session.scalar(select(Item.price).where(Item.id == number))  # finds: n-plus-one


@app.get("/concurrent")
async def concurrent():
    await asyncio.gather(*(alone(number) for number in range(int("12"))))


@app.get("/engine")
async def own_engine():
    own = create_async_engine(os.environ["DATABASE_URL"], echo=False)  # finds: engine-per-request
    async with own.connect() as connection:
        await connection.scalar(text("SELECT 1"))
    await own.dispose()
"""

REQUESTS = """
GET /polymorphic
GET /polymorphic-raises
GET /tree
GET /sums
GET /page?number=1100
GET /everything
GET /generic
GET /shared
POST /savepoints
GET /core
POST /core-writes
GET /fixed
GET /twice
GET /concurrent
GET /engine
"""


@dataclass(frozen=True)
class Run:
    root: Path
    url: str
    capture: Capture
    findings: list[QueryFinding]
    module: ModuleType

    def found(self, route: str) -> list[QueryFinding]:
        """Of a route, by their lines."""
        own = [one for one in self.findings if (one.unit or "").endswith(f" {route}")]
        return sorted(own, key=lambda one: one.line or 0)

    def text(self, route: str, number: int = 0) -> str:
        fix = self.found(route)[number].fix
        assert fix is not None
        return fix.text

    def answer(self, code: str, name: str, **values: Any) -> Any:
        """What `name` is after `code`, with the application's names and SQLAlchemy's."""
        body = textwrap.indent(code, "    ")
        source = f"async def fix(session, connection):\n{body}\n    return {name}\n"
        names = {**vars(sqlalchemy), **vars(self.module), **values}
        exec(source, names)

        async def run() -> Any:
            engine = create_async_engine(self.url)
            async with AsyncSession(engine) as session:
                answer = await names["fix"](session, await session.connection())
            await engine.dispose()
            return answer

        return asyncio.run(run())

    def scalars(self, query: Any) -> Any:
        return self.answer("rows = (await session.scalars(QUERY)).all()", "rows", QUERY=query)


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(APP.splitlines(), 1) if text in line)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("fixes")
    (root / "main.py").write_text(APP, encoding="utf-8")
    url, server = f"sqlite+aiosqlite:///{root}/data.db", None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        server.create_database("fixes_of_capture")
        url = str(server.url("fixes_of_capture"))
    project: Any = SimpleNamespace(root=root, import_root=root)
    asked = parse_requests(REQUESTS.splitlines(), "requests")
    name = f"fixes_{request.param}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        capture = watch_requests(project, "main:app", asked, timeout=600)
        spec = spec_from_file_location(name, root / "main.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        yield Run(root, url, capture, findings_of(capture, root), module)
    if server is not None:
        server.drop_database("fixes_of_capture")


def test_what_is_found_is_found_once_and_nothing_else(run: Run) -> None:
    expected = [
        (found[1], number)
        for number, line in enumerate(APP.splitlines(), 1)
        if (found := re.search(r"# finds: ([\w-]+)", line))
    ]
    assert sorted((one.rule, one.line or 0) for one in run.findings) == sorted(expected)
    statuses = {one.name: one.status for one in run.capture.units if one.kind == "request"}
    assert [name for name, status in statuses.items() if status != 200] == [
        "GET /polymorphic-raises"
    ]


def test_columns_of_subclasses_come_with_the_select_of_the_base(run: Run) -> None:
    option = "selectin_polymorphic(Ticket, [Bug, Claim])"
    for finding in run.found("/polymorphic"):
        assert finding.fix is not None
        assert finding.fix.loader == Loader("main.py", line_of("# TICKETS"), "Ticket", option)
        assert "a select of Ticket leaves it out" in finding.message
        assert "expire_on_commit" not in finding.fix.text
    [raised] = run.found("/polymorphic-raises")
    assert raised.fix is not None
    assert raised.message.endswith("a column that a select of Ticket leaves out")
    assert "selectin_polymorphic(Ticket, [Bug])" in raised.fix.text
    assert "expire_on_commit" not in raised.fix.text
    query = run.answer("pass", option, selectin_polymorphic=selectin_polymorphic)
    tickets = run.scalars(select(run.module.Ticket).options(query))
    assert sum(getattr(one, "severity", 0) for one in tickets) == 18


def test_a_tree_is_loaded_to_any_depth(run: Run) -> None:
    [finding] = run.found("/tree")
    assert finding.fix is not None
    option = "selectinload(Node.children, recursion_depth=-1)"
    assert finding.fix.loader == Loader("main.py", line_of("# ROOTS"), "Node", option)
    made = run.answer("pass", option, selectinload=selectinload)
    [root] = run.scalars(select(run.module.Node).where(run.module.Node.id == 1).options(made))
    assert [one.children[0].children[0].children for one in root.children] == [[]] * 6


def test_an_aggregate_stays_the_same_for_each_key(run: Run) -> None:
    """One statement; the numbers are those that the loop has read."""
    item = run.module.Item
    whole = func.sum(item.quantity * item.price).filter(item.price > 2)
    real = [
        func.sum(item.quantity),
        func.coalesce(func.sum(item.quantity).filter(item.place == "a"), 7),
        func.count(item.price.distinct()),
        whole,
        func.count(),
    ]
    keys = [0, 1, 2, 3, 999]
    for number, aggregate in enumerate(real):
        code = run.text("/sums", number)
        assert "GROUP BY" in code or ".group_by(" in code
        assert code.count("query = ") == 1 + ("text(" in code)
        values = {"keys": keys, "place": "a", "default": 7, "value_1": 2}
        if ":value_1" in code:
            code = code.replace("keys, expanding=True)", "keys, expanding=True), value_1=2")
        in_loop = code.rpartition("# in the loop: ")[2].partition("  #")[0]
        name = f"[{in_loop} for key in keys]"
        by_hand = [run.scalars(select(aggregate).where(item.product == key))[0] for key in keys]
        assert run.answer(code, name, **values) == by_hand, code
    assert "text(" in run.text("/sums", 3)
    assert "sum(items.quantity * items.price)" in run.text("/sums", 3)


def test_pages_keep_their_order(run: Run) -> None:
    item = run.module.Item
    mixed, same, other = (run.text("/page", number) for number in range(3))
    assert "or_(" in mixed
    assert "tuple_(" in same
    assert "ORDER BY abs(items.price), items.id" in re.sub(r"its order stays: ", "ORDER BY ", other)
    assert "order_by(" not in other
    orders = {
        mixed: (item.price.desc(), item.id),
        same: (item.price.desc(), item.id.desc()),
        run.text("/everything"): (item.quantity, item.id),
    }
    for code, order in orders.items():
        everything = [one.id for one in run.scalars(select(item).order_by(*order))]
        [last] = run.scalars(select(item).where(item.id == everything[699]))
        name = "[one.id for one in (await session.scalars(query)).all()]"
        cut = code.partition("# or only")[0]
        assert run.answer(cut, name, last=last, size=5)[:5] == everything[700:705], code


def test_a_line_that_loads_any_class_gets_no_option(run: Run) -> None:
    for route, mark, caller in (
        ("/generic", "# GENERIC", "# CALLER"),
        ("/shared", "# SHARED", "owners = await run("),
    ):
        [finding] = run.found(route)
        assert finding.fix is not None
        assert finding.fix.loader is None
        assert f"main.py:{line_of(mark)} loads other classes too" in finding.fix.text
        assert f"main.py:{line_of(caller)} that calls it" in finding.fix.text
        assert "options=[selectinload(Owner.cars)]" in finding.fix.text


def test_core_stays_core(run: Run) -> None:
    texts = run.text("/core"), run.text("/core", 1)
    assert "in await connection.execute(query)" in texts[0]
    assert "in await session.execute(query)" in texts[1]
    for code in texts:
        assert "select(items).where(items.c.id.in_(keys))" in code
        items = run.module.Item.__table__
        assert sorted(run.answer(code, "found", keys=[1, 2], items=items)) == [1, 2]
    assert "await connection.execute(query, rows)" in run.text("/core-writes")
    assert "update(items)" in run.text("/core-writes")


def test_a_number_that_the_source_says_is_called_fixed(run: Run) -> None:
    said = [one.message for one in run.found("/fixed")]
    assert "20 times, a fixed number," in said[0]
    assert "12 times, a fixed number," in said[1]
    assert not any("fixed" in one.message for one in run.found("/sums"))


def test_waiting_at_the_same_time_counts_once(run: Run) -> None:
    [finding] = run.found("/concurrent")
    [unit] = [one for one in run.capture.units if one.name == "GET /concurrent"]
    own = [one for one in run.capture.statements if one.unit == unit.number]
    # As if all of them had waited for each other: 1 s each, half of a second in all.
    slow = [replace(one, at=10.0 * n, ms=1000.0) for n, one in enumerate(own)]
    assert union_ms(slow) == 1000.0 + 10.0 * (len(own) - 1)
    units = tuple(replace(one, ms=500.0) if one is unit else one for one in run.capture.units)
    capture = replace(run.capture, statements=tuple(slow), units=units, events=())
    [again] = findings_of(capture, run.root)
    assert again.cost_ms < 500
    total = f"waited {1000 * len(own):,}.0 ms for the database, summed over concurrent statements"
    assert any(total in line for line in again.evidence)
    assert {one.database_ms for one in routes_of(capture) if one.name == unit.name} == {500.0}
    assert not any("ms in the database" in line for one in run.findings for line in one.evidence)
    assert finding.cost_ms <= unit.ms


def test_one_is_not_many(run: Run) -> None:
    assert run.found("/engine")[0].evidence == ("1 engine in 1 request",)
