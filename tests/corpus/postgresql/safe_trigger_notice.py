# expect: nothing
"""It tells, and lets everything through; what it refuses nobody writes."""

from alembic import op

revision = "safe_trigger_notice"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.age < -1 THEN RAISE EXCEPTION 'age'; END IF; RAISE NOTICE 'changed'; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER users_tell BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION tell()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER users_tell ON users")
    op.execute("DROP FUNCTION tell()")
