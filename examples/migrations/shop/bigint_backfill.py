"""integer to bigint, step 2 of 3: copy the old rows.

In batches, and resumable, as the e-mails were: see email_backfill.
"""

import logging
import time
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "bigint_backfill"
down_revision: str | Sequence[str] | None = "bigint_expand"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BATCH = 1000
PAUSE = 0.01
logger = logging.getLogger("alembic.backfill")

order = sa.table(
    "shop_order",
    sa.column("id", sa.Integer),
    sa.column("total_cents", sa.Integer),
    sa.column("total_cents_new", sa.BigInteger),
)
missing = order.c.total_cents_new.is_(None)
fill = sa.update(order).where(missing).values(total_cents_new=order.c.total_cents)


def upgrade() -> None:
    context = op.get_context()
    if context.dialect.name == "sqlite":
        return
    if context.as_sql:
        op.execute(fill)
        return
    with context.autocommit_block():
        connection = op.get_bind()
        last = 0
        while ids := connection.scalars(
            sa.select(order.c.id)
            .where(missing, order.c.id > last)
            .order_by(order.c.id)
            .limit(BATCH)
        ).all():
            connection.execute(fill.where(order.c.id.in_(ids)))
            last = ids[-1]
            logger.info("totals up to id %d", last)
            time.sleep(PAUSE)


def downgrade() -> None:
    """Nothing: the triggers keep both columns equal until step 1 is undone."""
