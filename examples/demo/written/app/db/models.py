"""The tables of the shop."""

import uuid

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base_model import BaseModel, SimpleBaseModel, VersionMixin, active_marker


class Customer(VersionMixin, BaseModel):
    """Soft-deleted, so that orders keep their customer; versioned, so that edits do not collide."""

    __tablename__ = "demo_customers"
    # `active` is NULL once a customer is deleted, and NULLs are never equal: the address is free
    # again. It works on every database; where MySQL does not matter, unique_active() is shorter.
    __table_args__ = (UniqueConstraint("email", "active"),)
    updatable_fields = frozenset({"name"})

    email: Mapped[str] = mapped_column(String(320))
    name: Mapped[str] = mapped_column(String(100))
    active: Mapped[int | None] = active_marker()


class Order(SimpleBaseModel):
    """Never deleted softly: an order is a fact."""

    __tablename__ = "demo_orders"

    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Customer.id), index=True)
    cents: Mapped[int]
