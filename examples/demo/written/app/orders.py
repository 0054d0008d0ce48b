"""Orders. `create` trusts the customer's id, and the database does not: its commit can fail."""

import uuid

from fastapi import APIRouter
from sqlalchemy import select

from app.db.models import Order
from app.db.session_manager import DbSession, ReadOnlyDbSession
from app.schemas import OrderIn, OrderOut

router = APIRouter(prefix="/orders", tags=["orders"])


@router.post("", status_code=201)
async def create(body: OrderIn, session: DbSession) -> dict[str, str]:
    session.add(Order(**body.model_dump()))
    # Nothing was sent to the database yet. With a session that commits after the response,
    # the caller would read this text also when the foreign key refuses the row.
    return {"order": "accepted"}


@router.get("")
async def read(customer_id: uuid.UUID, session: ReadOnlyDbSession) -> list[OrderOut]:
    found = await session.scalars(
        select(Order).where(Order.customer_id == customer_id).order_by(Order.id).limit(100)
    )
    return [OrderOut.model_validate(order) for order in found]
