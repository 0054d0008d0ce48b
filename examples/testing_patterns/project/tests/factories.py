"""Rows for tests: plain functions with keyword defaults.

A test names what it is about, and nothing else: `a_team(seats=1)`. They make objects and save
nothing, so that one call makes a whole graph and the test decides when it is committed. Values
under a unique constraint come from a counter; two workers may count alike, as each has a
database of its own.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count

from app.models import Invitation, Member, Team

_numbers = count(1)


def an_email() -> str:
    return f"person{next(_numbers)}@example.com"


def a_team(*, name: str | None = None, seats: int = 10, members: Iterable[Member] = ()) -> Team:
    return Team(name=name or f"Team {next(_numbers)}", seats=seats, members=list(members))


def a_member(*, email: str | None = None) -> Member:
    return Member(email=email or an_email())


def an_invitation(
    *,
    team: Team | None = None,
    email: str | None = None,
    expires_at: datetime = datetime(2100, 1, 1, tzinfo=UTC),
) -> Invitation:
    return Invitation(team=team or a_team(), email=email or an_email(), expires_at=expires_at)
