# expect: rows-one-by-one blocks
"""The flush sends an UPDATE for each."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session, declarative_base

revision = "rows_by_orm"
down_revision = "before"
branch_labels = None
depends_on = None

Base = declarative_base()


class User(Base):
    __tablename__ = "users"
    id = sa.Column(sa.Integer, primary_key=True)
    nick = sa.Column(sa.String)


def upgrade() -> None:
    session = Session(bind=op.get_bind())
    for user in session.query(User):
        user.nick = (user.nick or "").lower()
    session.commit()


def downgrade() -> None:
    pass
