# expect: nothing
"""It refuses what nobody writes."""

from alembic import op

revision = "safe_trigger"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TRIGGER users_look BEFORE UPDATE ON users FOR EACH ROW BEGIN IF NEW.age < -1 THEN SIGNAL SQLSTATE '45000'; END IF; SET NEW.age = NEW.age; END"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER users_look")
