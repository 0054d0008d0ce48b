"""What goes over the wire: never the models themselves."""

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=100)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=320)]
Cents = Annotated[int, Field(gt=0, le=100_000_000)]


class CustomerIn(BaseModel):
    email: Email
    name: Name


class CustomerChange(BaseModel):
    name: Name
    version: int
    """The version that the caller has seen."""


class CustomerOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    email: str
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


class OrderIn(BaseModel):
    customer_id: uuid.UUID
    cents: Cents


class OrderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    customer_id: uuid.UUID
    cents: int
