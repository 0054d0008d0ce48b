# expect: nothing
"""Dangerous words in values, comments and the body of a function that is not called."""

from alembic import op

revision = "safe_words_in_strings"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "INSERT INTO settings VALUES ('DELETE FROM users', 'DROP TABLE users; TRUNCATE users')"
    )
    op.execute("/* DROP TABLE users */ SELECT 1 -- UPDATE users SET city = NULL")
    op.execute("""
    CREATE FUNCTION danger() RETURNS void LANGUAGE plpgsql AS
    $body$ BEGIN TRUNCATE users; DELETE FROM orders; END $body$
    """)


def downgrade() -> None:
    op.execute("DROP FUNCTION danger()")
