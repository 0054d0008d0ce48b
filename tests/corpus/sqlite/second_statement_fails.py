# expect: does-not-run fails
"""The first is done, and the second refused."""

import sqlalchemy as sa
from alembic import op

revision = "second_statement_fails"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("notes", sa.Column("at", sa.DateTime))
    op.execute("ALTER TABLE nowhere ADD COLUMN x INTEGER")


def downgrade() -> None:
    op.execute("ALTER TABLE notes DROP COLUMN at")
