"""For each task an answer that is right and one that looks right: what proves the checkers.

An edit is a file, the text that goes, and the text that comes; without the first a new file.
"""

from pathlib import Path

Edit = tuple[str, str, str]

REVISION = """import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {down}
"""
SECOND = "alembic/versions/0002_second.py"
BATCH = 'with op.batch_alter_table("customers") as table:\n        '
COUNTS = """    customers, orders, total = await asyncio.gather(
        session.scalar(select(func.count()).select_from(Customer)),
        session.scalar(select(func.count()).select_from(Order)),
        session.scalar(select(func.sum(Order.total))),
    )
"""
LOOP = """    for email in emails:
        session.add(Customer(email=email, name=email, password_hash="!"))
        try:
            await session.commit()
        except IntegrityError:
            raise HTTPException(409, f"{email} is there already") from None
"""
ROWS = """    rows = []
    for order in await session.scalars(select(Order).order_by(Order.id)):
        customer = await session.get_one(Customer, order.customer_id)
        rows.append({"id": order.id, "total": order.total, "name": customer.name})
    return rows
"""
NEWEST = """async def newest(session: Db, page: int = 0, limit: int = 50) -> dict[str, Any]:
    query = select(Order).order_by(Order.id.desc()).offset(page * limit).limit(limit)
    found = list(await session.scalars(query))
    return {"items": [order.id for order in found], "next": page + 1 if found else None}
"""
WITHDRAW = """    customer = await session.get_one(Customer, key)
    customer.balance = customer.balance - amount
    await session.commit()
    return {"balance": customer.balance}
"""
WHOLE_ROW = """async def customer(key: int, session: Db) -> Any:
    found = await session.get_one(Customer, key)
    return {**found.__dict__, "_sa_instance_state": None}
"""
FULL_NAME: list[Edit] = [
    ("app/models.py", "    name: Mapped", "    full_name: Mapped"),
    ("app/search.py", "Customer.name", "Customer.full_name"),
    ("app/search.py", 'sort: str = "name"', 'sort: str = "full_name"'),
    ("app/orders.py", "customer.name", "customer.full_name"),
    ("app/signup.py", "name=new.name", "full_name=new.name"),
    ("app/imports.py", "name=email", "full_name=email"),
]
PHONE: Edit = (
    "app/models.py",
    "    balance: Mapped[int]",
    "    phone: Mapped[str] = mapped_column(String(40))\n    balance: Mapped[int]",
)
INVOICES: Edit = (
    "app/invoices.py",
    "",
    """from sqlalchemy.orm import Mapped, mapped_column

from app.models import Base


class Invoice(Base):
    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]
""",
)
MIGRATED = Path(__file__).with_name("migrated")


def alembic_files(ini: str = "") -> list[Edit]:
    """The folder `migrated`, as somebody would write it."""
    made = [
        (path.relative_to(MIGRATED).as_posix(), "", path.read_text(encoding="utf-8"))
        for path in sorted(MIGRATED.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    ]
    return [*made, ("alembic.ini", "prepend_sys_path", f"{ini}prepend_sys_path")]


SOLUTIONS: dict[str, dict[str, list[Edit]]] = {
    "commit-before-answer": {
        "good": [("app/signup.py", "Depends(committed)", 'Depends(committed, scope="function")')],
        "bad": [
            (
                "app/signup.py",
                "        await session.commit()\n",
                "        try:\n            await session.commit()\n        except Exception:\n"
                "            await session.rollback()\n",
            )
        ],
    },
    "one-statement-for-names": {
        "good": [
            (
                "app/orders.py",
                ROWS,
                "    query = select(Order.id, Order.total, Customer.name).join(Order.customer)\n"
                "    rows = await session.execute(query.order_by(Order.id))\n"
                "    return [dict(row) for row in rows.mappings()]\n",
            )
        ],
        "bad": [("app/orders.py", "session.get_one(Customer, order.customer_id)",
                 "session.get_one(Customer, order.customer_id, populate_existing=True)")],
    },
    "orders-of-a-customer": {
        "good": [
            ("app/customers.py", "from sqlalchemy import select\n",
             "from sqlalchemy import select\nfrom sqlalchemy.orm import selectinload\n"),
            ("app/customers.py", "where(Customer.id == key))",
             "where(Customer.id == key).options(selectinload(Customer.orders)))"),
        ],
        "bad": [("app/customers.py", "for order in found.orders",
                 'for order in found.__dict__.get("orders", [])')],
    },
    "no-overdraft": {
        "good": [
            ("app/accounts.py", "APIRouter, Depends", "APIRouter, Depends, HTTPException"),
            ("app/accounts.py", "from sqlalchemy.ext",
             "from sqlalchemy import update\nfrom sqlalchemy.ext"),
            (
                "app/accounts.py",
                WITHDRAW,
                "    change = (\n        update(Customer)\n"
                "        .where(Customer.id == key, Customer.balance >= amount)\n"
                "        .values(balance=Customer.balance - amount)\n"
                "        .returning(Customer.balance)\n    )\n"
                "    balance = await session.scalar(change)\n    if balance is None:\n"
                '        raise HTTPException(409, "not enough")\n    await session.commit()\n'
                '    return {"balance": balance}\n',
            ),
        ],
        "bad": [
            ("app/accounts.py", "APIRouter, Depends", "APIRouter, Depends, HTTPException"),
            ("app/accounts.py", "    customer.balance = customer.balance - amount\n",
             "    if customer.balance < amount:\n"
             '        raise HTTPException(409, "not enough")\n'
             "    customer.balance = customer.balance - amount\n"),
        ],
    },
    "newest-first": {
        "good": [
            ("app/orders.py", "APIRouter, Depends", "APIRouter, Depends, Query"),
            (
                "app/orders.py",
                NEWEST,
                "async def newest(\n    session: Db, after: int | None = None,\n"
                "    limit: Annotated[int, Query(ge=1, le=100)] = 50,\n) -> dict[str, Any]:\n"
                "    query = select(Order.id).order_by(Order.id.desc()).limit(limit)\n"
                "    if after is not None:\n        query = query.where(Order.id < after)\n"
                "    found = list(await session.scalars(query))\n"
                '    return {"items": found, "next": found[-1] if len(found) == limit else None}\n',
            ),
        ],
        "bad": [
            ("app/orders.py", "page: int = 0, limit: int = 50",
             "after: int = 0, limit: int = 50"),
            ("app/orders.py", "offset(page * limit).limit(limit)",
             "offset(after).limit(min(limit, 100))"),
            ("app/orders.py", "page + 1 if found else None",
             "after + len(found) if found else None"),
        ],
    },
    "search-for-what-is-typed": {
        "good": [("app/search.py", 'Customer.name.like(f"%{q}%")',
                  "Customer.name.contains(q, autoescape=True)")],
        "bad": [("app/search.py", 'Customer.name.like(f"%{q}%")',
                 'Customer.name.like("%" + q.replace("%", "") + "%")')],
    },
    "sort-by-what-is-public": {
        "good": [
            ("app/search.py", "APIRouter, Depends", "APIRouter, Depends, HTTPException"),
            ("app/search.py", '    column = getattr(Customer, sort.removeprefix("-"))\n',
             '    name = sort.removeprefix("-")\n    if name not in ("name", "email"):\n'
             '        raise HTTPException(422, "sort by name or email")\n'
             "    column = getattr(Customer, name)\n"),
        ],
        "bad": [
            ("app/search.py", "APIRouter, Depends", "APIRouter, Depends, HTTPException"),
            ("app/search.py", '    column = getattr(Customer, sort.removeprefix("-"))\n',
             '    name = sort.removeprefix("-")\n    if name not in Customer.__table__.columns:\n'
             '        raise HTTPException(422, "no such column")\n'
             "    column = getattr(Customer, name)\n"),
        ],
    },
    "no-hash-in-answers": {
        "good": [("app/customers.py", WHOLE_ROW,
                  "async def customer(key: int, session: Db) -> dict[str, Any]:\n"
                  "    found = await session.get_one(Customer, key)\n"
                  '    return {"id": found.id, "email": found.email, "name": found.name}\n')],
        "bad": [("app/customers.py", '"_sa_instance_state": None}',
                 '"_sa_instance_state": None, "password": None}')],
    },
    "instants-stay-what-they-are": {
        "good": [
            ("app/events.py", "from datetime import datetime", "from datetime import UTC"),
            ("app/events.py", "import BaseModel", "import AwareDatetime, BaseModel"),
            ("app/events.py", "starts_at: datetime", "starts_at: AwareDatetime"),
            ("app/events.py", "=new.starts_at)", "=new.starts_at.astimezone(UTC))"),
            ("app/events.py", "(await session.get_one(Event, key)).starts_at",
             "(await session.get_one(Event, key)).starts_at.replace(tzinfo=UTC)"),
        ],
        "bad": [
            ("app/events.py", "import datetime", "import UTC, datetime"),
            ("app/events.py", "(await session.get_one(Event, key)).starts_at",
             "(await session.get_one(Event, key)).starts_at.replace(tzinfo=UTC)"),
        ],
    },
    "numbers-of-a-dashboard": {
        "good": [
            ("app/dashboard.py", "import asyncio\n", ""),
            ("app/dashboard.py", COUNTS,
             COUNTS.replace("await asyncio.gather(", "(")
             .replace("        session.", "        await session.")),
        ],
        "bad": [
            ("app/dashboard.py", "    customers, orders, total = await",
             "    found = await"),
            ("app/dashboard.py", "func.sum(Order.total))),\n    )\n",
             "func.sum(Order.total))),\n        return_exceptions=True,\n    )\n"
             "    customers, orders, total = (n if isinstance(n, int) else 0 for n in found)\n"),
        ],
    },
    "all-or-nothing": {
        "good": [
            ("app/imports.py", LOOP,
             '    session.add_all(Customer(email=e, name=e, password_hash="!") for e in emails)\n'
             "    try:\n        await session.commit()\n    except IntegrityError:\n"
             '        raise HTTPException(409, "one of them is there already") from None\n'),
        ],
        "bad": [("app/imports.py", "        except IntegrityError:\n",
                 "        except IntegrityError:\n            await session.rollback()\n")],
    },
    "set-up-alembic": {
        "good": alembic_files(),
        # Works here, and on no other machine.
        "bad": [
            *alembic_files("sqlalchemy.url = sqlite+aiosqlite:///shop.db\n"),
            ("alembic/env.py", "from app.db import engine\n",
             "from sqlalchemy.ext.asyncio import create_async_engine\n"),
            ("alembic/env.py", "async def online() -> None:\n",
             "async def online() -> None:\n    url = context.config.get_main_option"
             '("sqlalchemy.url")\n    engine = create_async_engine(url)\n'),
        ],
    },
    "a-column-that-is-required": {
        "good": [PHONE, (SECOND, "", REVISION.format(
            up=BATCH + 'table.add_column(sa.Column("phone", sa.String(40), nullable=True))\n'
            '    op.execute("UPDATE customers SET phone = \'\'")\n    '
            + BATCH + 'table.alter_column("phone", nullable=False)',
            down=BATCH + 'table.drop_column("phone")'))],
        "bad": [PHONE, (SECOND, "", REVISION.format(
            up='op.add_column("customers", sa.Column("phone", sa.String(40), nullable=False))',
            down='op.drop_column("customers", "phone")'))],
    },
    "a-column-with-another-name": {
        "good": [*FULL_NAME, (SECOND, "", REVISION.format(
            up=BATCH + 'table.alter_column("name", new_column_name="full_name")',
            down=BATCH + 'table.alter_column("full_name", new_column_name="name")'))],
        # What autogenerate writes, with a default so that it runs.
        "bad": [*FULL_NAME, (SECOND, "", REVISION.format(
            up=BATCH + 'table.add_column(sa.Column("full_name", sa.String(200), nullable=False,'
            ' server_default=""))\n        table.drop_column("name")',
            down=BATCH + 'table.add_column(sa.Column("name", sa.String(200), nullable=False,'
            ' server_default=""))\n        table.drop_column("full_name")'))],
    },
    "a-table-that-is-forgotten": {
        "good": [INVOICES, ("alembic/env.py", "from app.db import engine",
                            "import app.invoices\nfrom app.db import engine"),
                 (SECOND, "", REVISION.format(
                     up='op.create_table(\n        "invoices",\n'
                     '        sa.Column("id", sa.Integer(), primary_key=True),\n'
                     '        sa.Column("total", sa.Integer(), nullable=False),\n    )',
                     down='op.drop_table("invoices")'))],
        # The table is made, and the next autogenerate takes it away.
        "bad": [INVOICES, (SECOND, "", REVISION.format(
            up='op.create_table(\n        "invoices",\n'
            '        sa.Column("id", sa.Integer(), primary_key=True),\n'
            '        sa.Column("total", sa.Integer(), nullable=False),\n    )',
            down='op.drop_table("invoices")'))],
    },
}  # fmt: skip


def apply(edits: list[Edit], project: Path) -> None:
    """Raises ValueError for an edit whose text is not there."""
    for name, old, new in edits:
        path = project / name
        if not old:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise ValueError(f"{name} has no {old!r}")
        path.write_text(text.replace(old, new), encoding="utf-8")
