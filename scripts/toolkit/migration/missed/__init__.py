"""What autogenerate missed: the migrated schema against the one that the models make."""

from toolkit.migration.missed.find import Missed, find_missed
from toolkit.migration.missed.insert import add_lines
from toolkit.migration.missed.prepare import preparation

__all__ = ["Missed", "add_lines", "find_missed", "preparation"]
