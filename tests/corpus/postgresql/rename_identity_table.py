# expect: rename-table breaks-old-code
"""With an identity, a sequence of its own and a key to itself."""

from alembic import op

revision = "rename_identity_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE tickets RENAME TO issues")


def downgrade() -> None:
    op.execute("ALTER TABLE issues RENAME TO tickets")
