# expect: trigger-refuses breaks-old-code
"""NOT NULL by other means: old code does not know the column."""

from alembic import op

revision = "trigger_wants_new_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN region text")
    op.execute(
        "CREATE FUNCTION want() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.region IS NULL THEN RAISE EXCEPTION 'no region'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER orders_want BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION want()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER orders_want ON orders")
    op.execute("DROP FUNCTION want()")
    op.execute("ALTER TABLE orders DROP COLUMN region")
