# expect: values-removed data-loss
"""One statement for each of several tables."""

from alembic import op

revision = "do_dynamic_update"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    DO $$ DECLARE name text; BEGIN
        FOREACH name IN ARRAY ARRAY['users'] LOOP
            EXECUTE format('UPDATE %I SET city = NULL', name);
        END LOOP;
    END $$
    """)


def downgrade() -> None:
    pass
