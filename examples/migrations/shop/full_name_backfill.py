"""Rename name to full_name, step 2 of 3: copy the old rows.

In batches, and resumable, as the e-mails were: see email_backfill.
"""

import logging
import time
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "full_name_backfill"
down_revision: str | Sequence[str] | None = "full_name_expand"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BATCH = 1000
PAUSE = 0.01
logger = logging.getLogger("alembic.backfill")

customer = sa.table(
    "shop_customer",
    sa.column("id", sa.Integer),
    sa.column("name", sa.String),
    sa.column("full_name", sa.String),
)
missing = sa.and_(customer.c.full_name.is_(None), customer.c.name.is_not(None))
fill = sa.update(customer).where(missing).values(full_name=customer.c.name)


def upgrade() -> None:
    context = op.get_context()
    if context.as_sql or context.dialect.name == "sqlite":
        op.execute(fill)
        return
    with context.autocommit_block():
        connection = op.get_bind()
        last = 0
        while ids := connection.scalars(
            sa.select(customer.c.id)
            .where(missing, customer.c.id > last)
            .order_by(customer.c.id)
            .limit(BATCH)
        ).all():
            connection.execute(fill.where(customer.c.id.in_(ids)))
            last = ids[-1]
            logger.info("full names up to id %d", last)
            time.sleep(PAUSE)


def downgrade() -> None:
    """Nothing: the triggers keep both columns equal until step 1 is undone."""
