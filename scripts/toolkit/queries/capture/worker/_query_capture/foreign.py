"""The type of what belongs to SQLAlchemy, Starlette, pytest or a driver.

The worker sees these of any version, and must not import one of them to name its classes.
"""

from typing import Any, TypeAlias

Foreign: TypeAlias = Any
