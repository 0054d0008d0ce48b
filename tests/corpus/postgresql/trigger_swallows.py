# expect: trigger-refuses breaks-old-code
"""The INSERT succeeds, and its row is not there."""

from alembic import op

revision = "trigger_swallows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER orders_stop BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION swallow()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER orders_stop ON orders")
    op.execute("DROP FUNCTION swallow()")
