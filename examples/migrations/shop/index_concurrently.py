"""An index, while the application goes on writing.

PostgreSQL: CONCURRENTLY takes ShareUpdateExclusive, beside which rows are read and written; it
reads the table twice and waits for every transaction that is older. Therefore no lock_timeout,
and no transaction around it. A build that failed leaves an invalid index of that name, which
IF NOT EXISTS would accept: it is dropped first.
MySQL: LOCK=NONE lets writers go on, or refuses. SQLite: an ordinary index, one writer at a time.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "index_concurrently"
down_revision: str | Sequence[str] | None = "shop"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "ix_shop_order_customer_id"
IS_INVALID = sa.text(
    "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid"
).bindparams(name=INDEX)


def upgrade() -> None:
    context = op.get_context()
    if context.dialect.name == "postgresql":
        with context.autocommit_block():
            op.execute("SET lock_timeout = 0")
            if context.as_sql or op.get_bind().scalar(IS_INVALID):
                op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
            op.create_index(
                INDEX,
                "shop_order",
                ["customer_id"],
                postgresql_concurrently=True,
                if_not_exists=True,
            )
            op.execute("SET lock_timeout = '4s'")  # what env.py has set
    elif context.dialect.name == "sqlite":
        op.create_index(INDEX, "shop_order", ["customer_id"])
    else:
        op.execute(
            f"ALTER TABLE shop_order ADD INDEX {INDEX} (customer_id), ALGORITHM=INPLACE, LOCK=NONE"
        )


def downgrade() -> None:
    context = op.get_context()
    if context.dialect.name == "postgresql":
        with context.autocommit_block():
            op.execute("SET lock_timeout = 0")
            op.drop_index(INDEX, "shop_order", postgresql_concurrently=True, if_exists=True)
            op.execute("SET lock_timeout = '4s'")
    else:
        op.drop_index(INDEX, "shop_order")
