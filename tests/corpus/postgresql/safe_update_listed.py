# expect: nothing
"""The rows are in the statement."""

from alembic import op

revision = "safe_update_listed"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE settings SET value = v.b FROM (VALUES ('old1', 'x'), ('old2', 'y')) AS v(a, b) WHERE key = v.a"
    )


def downgrade() -> None:
    pass
