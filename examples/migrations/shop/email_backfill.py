"""NOT NULL, step 1 of 3: fill the old rows in batches, which a killed process resumes.

Deploy first the application that always writes an e-mail. Each batch is a transaction of its own
and locks its rows only, so the application waits for milliseconds. The progress is in the data:
what is not NULL is done, and a second run goes on from there.
SQLite has one writer at a time and all of env.py's transaction: one UPDATE, all or nothing.
"""

import logging
import time
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "email_backfill"
down_revision: str | Sequence[str] | None = "index_concurrently"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BATCH = 1000
PAUSE = 0.01  # seconds after each batch, for replicas and autovacuum
logger = logging.getLogger("alembic.backfill")

# Own objects, with the columns of this moment: a model that is imported has those of tomorrow.
customer = sa.table("shop_customer", sa.column("id", sa.Integer), sa.column("email", sa.String))
missing = customer.c.email.is_(None)
fill = (
    sa.update(customer)
    .where(missing)
    .values(email="customer-" + sa.cast(customer.c.id, sa.String(20)) + "@example.invalid")
)


def upgrade() -> None:
    context = op.get_context()
    if context.as_sql or context.dialect.name == "sqlite":
        op.execute(fill)
        return
    with context.autocommit_block():
        connection = op.get_bind()
        left = connection.scalar(sa.select(sa.func.count()).where(missing)) or 0
        last = 0
        while ids := connection.scalars(
            sa.select(customer.c.id)
            .where(missing, customer.c.id > last)
            .order_by(customer.c.id)
            .limit(BATCH)
        ).all():
            connection.execute(fill.where(customer.c.id.in_(ids)))
            last = ids[-1]
            left -= len(ids)
            logger.info("e-mails up to id %d, %d left", last, left)
            time.sleep(PAUSE)


def downgrade() -> None:
    """Nothing: the last version of the application reads these rows, too."""
