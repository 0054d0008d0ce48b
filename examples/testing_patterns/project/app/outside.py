"""What the application takes from outside. Each is a dependency, so a test can replace it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends


def current_time() -> datetime:
    return datetime.now(UTC)


class Mailer:
    async def send(self, to: str, text: str) -> None:
        raise RuntimeError(f"there is no mail server here: {text!r} was not sent to {to}")


def get_mailer() -> Mailer:
    return Mailer()


Now = Annotated[datetime, Depends(current_time)]
Mail = Annotated[Mailer, Depends(get_mailer)]
