# expect: vacuum-full blocks
"""Writes the table again."""

from alembic import op

revision = "vacuum_full"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("VACUUM FULL users")


def downgrade() -> None:
    pass
