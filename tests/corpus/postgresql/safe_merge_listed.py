# expect: nothing
"""The rows are in the statement."""

from alembic import op

revision = "safe_merge_listed"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "MERGE INTO settings s USING (VALUES ('a','1'),('b','2')) AS v(key, value) ON s.key = v.key WHEN MATCHED THEN UPDATE SET value = v.value WHEN NOT MATCHED THEN INSERT VALUES (v.key, v.value)"
    )


def downgrade() -> None:
    pass
