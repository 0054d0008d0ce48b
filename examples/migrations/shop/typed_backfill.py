"""Text to an enum and to JSON, step 2 of 3: convert the old rows.

In batches, and resumable, as the e-mails were: see email_backfill.
"""

import logging
import time
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "typed_backfill"
down_revision: str | Sequence[str] | None = "typed_expand"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BATCH = 1000
PAUSE = 0.01
logger = logging.getLogger("alembic.backfill")

# The trigger converts: an update that changes nothing is enough. It fails where a text is no JSON.
order = sa.table(
    "shop_order",
    sa.column("id", sa.Integer),
    sa.column("status", sa.String),
    sa.column("details", sa.Text),
    sa.column("state", sa.String),
)
missing = order.c.state.is_(None)
fill = sa.update(order).where(missing).values(status=order.c.status, details=order.c.details)


def upgrade() -> None:
    context = op.get_context()
    if context.as_sql or context.dialect.name == "sqlite":
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
            logger.info("states up to id %d", last)
            time.sleep(PAUSE)


def downgrade() -> None:
    """Nothing: the triggers keep both columns equal until step 1 is undone."""
