# expect: nothing
"""The CHECK proves it without a scan."""

from alembic import op

revision = "safe_set_not_null_after_check"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint(
        "users_name_set", "users", "name IS NOT NULL", postgresql_not_valid=True
    )
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE users VALIDATE CONSTRAINT users_name_set")
    op.alter_column("users", "name", nullable=False)
    op.drop_constraint("users_name_set", "users")


def downgrade() -> None:
    op.alter_column("users", "name", nullable=True)
