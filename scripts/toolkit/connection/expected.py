"""What the caller has said about the application, and the limits of a run."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.connection.engine_settings import EngineSettings
from toolkit.project.facts import Project

REPORT_SECONDS = 0.3
UTC_NAMES = frozenset(
    {
        *("utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "zulu", "etc/zulu", "universal"),
        *("etc/universal", "greenwich", "etc/greenwich", "gmt0", "gmt+0", "gmt-0", "+00:00", "0"),
    }
)


@dataclass(frozen=True)
class Expected:
    """How the database should be, how the application uses it, and when we have to be done."""

    settings: EngineSettings
    workers: int = 1
    """On each host."""
    hosts: int = 1
    services: int = 1
    rate: int | None = None
    """Transactions a second on all hosts."""
    hold: int | None = None
    """Milliseconds that a transaction holds its connection."""
    load: int = 20
    time_zone: str = "UTC"
    read_only: bool = False
    """A replica is meant."""
    project: Project | None = None
    folder: Path = field(default_factory=Path)
    """What a relative SQLite path counts from."""
    deadline: float = 0.0
    """On the monotonic clock."""

    @property
    def wanted(self) -> int:
        """The most connections that the application opens."""
        return self.processes * self.settings.capacity

    @property
    def processes(self) -> int:
        return self.services * self.hosts * self.workers

    @property
    def in_use(self) -> tuple[float, int] | None:
        """By Little's law: connections in use on average, and in all but one moment of 700."""
        if self.rate is None or self.hold is None:
            return None
        mean = self.rate * self.hold / 1000
        return mean, math.ceil(mean + 3 * math.sqrt(mean))

    def left(self) -> float:
        """Seconds for the next step: until the end, less what it takes to report."""
        return max(0.05, self.deadline - time.monotonic() - REPORT_SECONDS)

    def zone_is_right(self, zone: str) -> bool:
        if self.time_zone.lower() in UTC_NAMES:
            return zone.lower() in UTC_NAMES
        return zone.lower() == self.time_zone.lower()


@dataclass(frozen=True)
class Room:
    """The connections that a server has for this role."""

    limit: int
    """The most at once: the server's, less what is reserved, or the role's or database's own."""
    used: int
    words: str
    stuck: int = 0
    """Of this role's, those in a transaction in which nothing has happened for a while."""

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)
