# expect: nothing
"""The rows are named before."""

from alembic import op

revision = "safe_update_by_with"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "WITH two AS (SELECT id FROM users WHERE id IN (2, 3)) UPDATE users SET city = 'x' FROM two WHERE two.id = users.id"
    )


def downgrade() -> None:
    pass
