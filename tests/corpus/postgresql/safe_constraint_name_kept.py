# expect: nothing
"""Its name is only lent, as where another constraint takes its place."""

from alembic import op

revision = "safe_constraint_name_kept"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders RENAME CONSTRAINT orders_number_key TO orders_number_old")
    op.execute("ALTER TABLE orders RENAME CONSTRAINT orders_number_old TO orders_number_key")


def downgrade() -> None:
    op.execute("SELECT 1")
