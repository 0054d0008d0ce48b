# expect: nothing
"""Nobody has it yet."""

from alembic import op

revision = "safe_owner_of_new_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE slips (id bigint PRIMARY KEY)")
    op.execute("ALTER TABLE slips OWNER TO pg_monitor")


def downgrade() -> None:
    op.execute("DROP TABLE slips")
