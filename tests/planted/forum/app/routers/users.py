from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import StreamingResponse

from ..db import SessionDep
from ..services.users import UserService, profiles

router = APIRouter(prefix="/users", tags=["users"])


def get_service(session: SessionDep) -> UserService:
    return UserService(session)


Service = Annotated[UserService, Depends(get_service)]


@router.get("")
async def everyone(service: Service) -> Any:
    return await service.everyone()


@router.get("/by-email")
async def by_email(service: Service, email: str) -> Any:
    user = await service.by_email(email)
    if user is None:
        raise HTTPException(404)
    return {"id": user.id, "name": user.name}


@router.get("/search")
async def search(service: Service, prefix: str) -> Any:
    return await service.by_prefix(prefix)


@router.get("/digest")
async def digest(service: Service, limit: int = 10) -> Any:
    return await service.digest(limit)


@router.get("/profiles")
async def many_profiles(ids: Annotated[list[int], Query()]) -> Any:
    return await profiles(ids)


@router.get("/names.txt")
async def names(service: Service) -> StreamingResponse:
    return StreamingResponse(service.names(), media_type="text/plain")


@router.get("/{user_id}/profile")
async def profile(service: Service, user_id: int) -> Any:
    return await service.profile(user_id)


@router.get("/{user_id}/comments")
async def comments(service: Service, user_id: int) -> Any:
    return await service.comments(user_id)
