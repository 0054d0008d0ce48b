"""Until when each release of a server is repaired.

Sources: postgresql.org/support/versioning, mysql.com/support/eol-notice.html and
mariadb.org/about/#maintenance-policy, as published up to November 2026. A release that is
not here is not judged.
"""

import datetime
import re

Day = datetime.date

POSTGRESQL = {
    "9.6": Day(2021, 11, 11),
    "10": Day(2022, 11, 10),
    "11": Day(2023, 11, 9),
    "12": Day(2024, 11, 21),
    "13": Day(2025, 11, 13),
    "14": Day(2026, 11, 12),
    "15": Day(2027, 11, 11),
    "16": Day(2028, 11, 9),
    "17": Day(2029, 11, 8),
    "18": Day(2030, 11, 14),
}
MYSQL = {
    "5.6": Day(2021, 2, 5),
    "5.7": Day(2023, 10, 31),
    "8.0": Day(2026, 4, 30),
    "8.4": Day(2032, 4, 30),
}
MARIADB = {
    "10.3": Day(2023, 5, 25),
    "10.4": Day(2024, 6, 18),
    "10.5": Day(2025, 6, 24),
    "10.6": Day(2026, 7, 6),
    "10.11": Day(2028, 2, 16),
    "11.4": Day(2029, 5, 29),
    "11.8": Day(2028, 6, 4),
}
RELEASES = {"PostgreSQL": POSTGRESQL, "MySQL": MYSQL, "MariaDB": MARIADB}


def end_of_life(product: str, version: str) -> datetime.date | None:
    """The last day of `version` (`15.18`, `8.0.36`); None where it is not in the table."""
    numbers = re.findall(r"\d+", version)
    table = RELEASES[product]
    for length in (2, 1):
        release = ".".join(numbers[:length])
        if len(numbers) >= length and release in table:
            return table[release]
    return None
