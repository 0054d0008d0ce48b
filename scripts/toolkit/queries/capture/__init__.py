"""What the application really sent while its tests or given requests ran."""

from toolkit.queries.capture.rules import findings_of, routes_of
from toolkit.queries.capture.run import watch_command, watch_requests

__all__ = ["findings_of", "routes_of", "watch_command", "watch_requests"]
