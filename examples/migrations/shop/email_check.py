"""NOT NULL, step 2 of 3: refuse new NULLs.

PostgreSQL: NOT VALID does not read the table, so that AccessExclusive is held for a moment.
It holds for updates, too: an old row that is still NULL could not be changed at all, which is
why the backfill comes first.
MySQL and SQLite have no such thing: step 3 does it all.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "email_check"
down_revision: str | Sequence[str] | None = "email_backfill"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.create_check_constraint(
            "ck_shop_customer_email",
            "shop_customer",
            "email IS NOT NULL",
            postgresql_not_valid=True,
        )


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.drop_constraint("ck_shop_customer_email", "shop_customer", type_="check")
