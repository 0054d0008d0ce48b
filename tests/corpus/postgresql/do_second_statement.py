# expect: delete-all-rows data-loss
"""The first statement of the block is harmless, the second is not."""

from alembic import op

revision = "do_second_statement"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    DO $$ BEGIN
        UPDATE settings SET value = 'x' WHERE key = 'y';
        DELETE FROM items;
    END $$
    """)


def downgrade() -> None:
    pass
