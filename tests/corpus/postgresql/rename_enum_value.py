# expect: rename-enum-value breaks-old-code
"""Old code writes the old value."""

from alembic import op

revision = "rename_enum_value"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE status RENAME VALUE 'sent' TO 'shipped'")


def downgrade() -> None:
    op.execute("ALTER TYPE status RENAME VALUE 'shipped' TO 'sent'")
