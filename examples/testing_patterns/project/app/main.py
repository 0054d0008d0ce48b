"""The endpoints."""

import uuid

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import selectinload

from app import teams
from app.db.health import check_ready
from app.db.session_manager import Database, DbSession, ReadOnlyDbSession, lifespan
from app.models import Team
from app.outside import Mail, Now

app = FastAPI(lifespan=lifespan)


class TeamIn(BaseModel):
    name: str
    seats: int = 10


class TeamOut(BaseModel):
    id: uuid.UUID
    name: str
    members: list[str]


class InvitationIn(BaseModel):
    email: str


@app.exception_handler(teams.UnknownError)
@app.exception_handler(teams.ExpiredError)
@app.exception_handler(teams.TeamFullError)
async def refuse(_request: Request, error: Exception) -> JSONResponse:
    codes = {teams.UnknownError: 404, teams.ExpiredError: 410, teams.TeamFullError: 409}
    return JSONResponse({"detail": error.__doc__}, codes[type(error)])


@app.post("/teams", status_code=201)
async def create_team(body: TeamIn, session: DbSession) -> TeamOut:
    try:
        team = await Team(**body.model_dump()).save(session)
    except IntegrityError:
        raise HTTPException(409, "there is a team of this name") from None
    return TeamOut(id=team.id, name=team.name, members=[])


@app.get("/teams")
async def read_teams(session: ReadOnlyDbSession) -> list[TeamOut]:
    statement = select(Team).options(selectinload(Team.members)).order_by(Team.name).limit(100)
    return [
        TeamOut(id=team.id, name=team.name, members=[member.email for member in team.members])
        for team in await session.scalars(statement)
    ]


@app.post("/teams/{team_id}/invitations", status_code=201)
async def invite(
    team_id: uuid.UUID,
    body: InvitationIn,
    session: DbSession,
    now: Now,
    mailer: Mail,
    after: BackgroundTasks,
) -> uuid.UUID:
    try:
        invitation = await teams.invite(session, team_id, body.email, now)
    except IntegrityError:
        raise HTTPException(409, "this address is invited already") from None
    # After the commit, which can fail: a mail cannot be rolled back.
    after.add_task(mailer.send, body.email, f"Join us: {invitation.id}")
    return invitation.id


@app.post("/invitations/{invitation_id}/accept", status_code=204)
async def accept(invitation_id: uuid.UUID, session: DbSession, now: Now) -> None:
    await teams.accept(session, invitation_id, now)


@app.get("/ready")
async def ready(database: Database, response: Response) -> dict[str, str]:
    health = await check_ready(database)
    response.status_code = health.status_code
    return health.checks
