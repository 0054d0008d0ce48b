"""One of two branches that began at the same revision: customers get a phone.

Adding a nullable column is a moment of AccessExclusive on PostgreSQL, instant on MySQL.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "customer_phone"
down_revision: str | Sequence[str] | None = "order_customer_fk_valid"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("shop_customer", sa.Column("phone", sa.String(40)))


def downgrade() -> None:
    op.drop_column("shop_customer", "phone")
