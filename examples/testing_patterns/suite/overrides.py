"""What comes from outside is replaced for a test: clock, mailer, database"""

from datetime import timedelta
from pathlib import Path

import httpx

from app.db.session_manager import DatabaseConfig, DatabaseSessionManager
from app.main import app
from tests.factories import a_team, an_invitation
from tests.fixtures import Clock, Outbox, Save


async def test_time_passes_when_the_test_says_so(
    client: httpx.AsyncClient, save: Save, clock: Clock
) -> None:
    """An invitation is refused a moment after its week, and not before: no sleep."""
    late, in_time = an_invitation(expires_at=clock.time), an_invitation()
    await save(late, in_time)
    assert (await client.post(f"/invitations/{late.id}/accept")).status_code == 410
    clock.forward(timedelta(days=6))
    assert (await client.post(f"/invitations/{in_time.id}/accept")).status_code == 204


async def test_mail_is_sent(
    client: httpx.AsyncClient, save: Save, clock: Clock, outbox: Outbox
) -> None:
    """A mail goes out with each invitation, none with one that the database refused."""
    team = a_team()
    await save(team)
    for status in (201, 409):
        answer = await client.post(f"/teams/{team.id}/invitations", json={"email": "a@b.example"})
        assert answer.status_code == status
    assert [to for to, _ in outbox.sent] == ["a@b.example"]


async def test_overrides_end_with_their_test() -> None:
    """The next test has the real ones again."""
    assert app.dependency_overrides == {}
    assert not hasattr(app.state, "database")


async def test_start_and_end_of_the_application(
    client: httpx.AsyncClient, database: DatabaseSessionManager
) -> None:
    """The lifespan uses the database that is on app.state already, and leaves it open."""
    async with app.router.lifespan_context(app):
        assert app.state.database is database
        assert (await client.get("/ready")).status_code == 200
    assert database.is_open


async def test_without_a_database(
    client: httpx.AsyncClient, database: DatabaseSessionManager, tmp_path: Path
) -> None:
    """Another manager on app.state: the readiness probe of a database that is not there."""
    nowhere = DatabaseConfig(f"sqlite:///{tmp_path / 'no folder' / 'test.db'}")
    async with DatabaseSessionManager(nowhere) as broken:
        app.state.database = broken  # not by monkeypatch, which may delete it at its end
        try:
            assert (await client.get("/ready")).status_code == 503
        finally:
            app.state.database = database
    assert (await client.get("/ready")).status_code == 200
