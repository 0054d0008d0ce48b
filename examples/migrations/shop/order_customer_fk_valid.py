"""A foreign key, step 3 of 3: the old rows are verified.

PostgreSQL: VALIDATE takes ShareUpdateExclusive on the table and RowShare on the other: rows are
read and written beside it. MySQL and SQLite have no such statement: a query does it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision: str = "order_customer_fk_valid"
down_revision: str | Sequence[str] | None = "orphan_orders"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ORPHANS = """
    SELECT count(*) FROM shop_order
    WHERE NOT EXISTS (SELECT 1 FROM shop_customer WHERE shop_customer.id = shop_order.customer_id)
"""


def upgrade() -> None:
    context = op.get_context()
    if context.dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE shop_order VALIDATE CONSTRAINT fk_shop_order_customer_id_shop_customer"
        )
    elif not context.as_sql and (orphans := op.get_bind().scalar(sa.text(ORPHANS))):
        raise CommandError(f"{orphans} orders have no customer")


def downgrade() -> None:
    """Nothing: a constraint that holds need not be doubted."""
