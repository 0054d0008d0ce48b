# expect: truncate data-loss
"""A block puts its statement together."""

from alembic import op

revision = "do_truncate"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DO $$ BEGIN EXECUTE 'TRUNCATE TABLE ' || quote_ident('items'); END $$")


def downgrade() -> None:
    pass
