# expect: rows-one-by-one blocks
"""What is sent stands in a variable."""

import sqlalchemy as sa
from alembic import op

revision = "rows_by_statement_in_variable"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    sent = sa.text("UPDATE users SET name = 'x' WHERE id = :id")
    for row in bind.execute(sa.text("SELECT id FROM users")).fetchall():
        bind.execute(sent, {"id": row.id})


def downgrade() -> None:
    pass
