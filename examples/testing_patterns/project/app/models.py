"""The tables. Relationships are never loaded by accident (lazy="raise")."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base_model import SimpleBaseModel


class Team(SimpleBaseModel):
    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    seats: Mapped[int]
    members: Mapped[list["Member"]] = relationship(lazy="raise", order_by="Member.email")


class Member(SimpleBaseModel):
    __tablename__ = "members"
    __table_args__ = (UniqueConstraint("team_id", "email"),)

    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    email: Mapped[str] = mapped_column(String(320))


class Invitation(SimpleBaseModel):
    __tablename__ = "invitations"
    __table_args__ = (UniqueConstraint("team_id", "email"),)

    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    team: Mapped[Team] = relationship(lazy="raise")
    email: Mapped[str] = mapped_column(String(320))
    expires_at: Mapped[datetime]
