# expect: delete-all-rows data-loss
"""A helper of the revision does the work."""

from alembic import op

revision = "function_that_deletes"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE FUNCTION wipe() RETURNS void LANGUAGE sql AS $$ DELETE FROM items $$")
    op.execute("SELECT wipe()")
    op.execute("DROP FUNCTION wipe()")


def downgrade() -> None:
    op.execute("SELECT 1")
