"""Customers. No endpoint commits: `DbSession` does, before the response is sent."""

import uuid

from fastapi import APIRouter, HTTPException
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from app.db.models import Customer
from app.db.session_manager import DbSession, ReadOnlyDbSession
from app.schemas import CustomerChange, CustomerIn, CustomerOut

router = APIRouter(prefix="/customers", tags=["customers"])


async def find(session: AsyncSession, customer_id: uuid.UUID) -> Customer:
    customer = await Customer.get_by_id(session, customer_id)
    if customer is None:
        raise HTTPException(404, "no such customer")
    return customer


@router.post("", status_code=201)
async def create(body: CustomerIn, session: DbSession) -> CustomerOut:
    customer = Customer(**body.model_dump())
    session.add(customer)
    try:
        # Flushed here, so that the one failure to expect gets an answer of its own.
        await session.flush()
    except IntegrityError as error:
        raise HTTPException(409, "a customer has this e-mail address") from error
    return CustomerOut.model_validate(customer)


@router.get("/{customer_id}")
async def read(customer_id: uuid.UUID, session: ReadOnlyDbSession) -> CustomerOut:
    return CustomerOut.model_validate(await find(session, customer_id))


@router.patch("/{customer_id}")
async def change(customer_id: uuid.UUID, body: CustomerChange, session: DbSession) -> CustomerOut:
    customer = await find(session, customer_id)
    if customer.version != body.version:
        raise HTTPException(409, f"this customer is at version {customer.version} by now")
    try:
        await customer.update(session, {"name": body.name})
    except StaleDataError as error:
        # Two callers passed the check above at the same time; this one came second.
        raise HTTPException(409, "this customer was changed in the meantime") from error
    return CustomerOut.model_validate(customer)


@router.delete("/{customer_id}", status_code=204)
async def delete(customer_id: uuid.UUID, session: DbSession) -> None:
    customer = await find(session, customer_id)
    await customer.soft_delete(session)
