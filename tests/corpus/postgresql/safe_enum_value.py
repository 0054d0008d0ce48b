# expect: nothing
"""In a transaction of its own."""

from alembic import op

revision = "safe_enum_value"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE status ADD VALUE 'lost'")


def downgrade() -> None:
    pass
