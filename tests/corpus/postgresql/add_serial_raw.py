# expect: add-column-rewrite blocks
"""serial is a volatile default."""

from alembic import op

revision = "add_serial_raw"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE settings ADD COLUMN id bigserial")


def downgrade() -> None:
    op.execute("ALTER TABLE settings DROP COLUMN id")
