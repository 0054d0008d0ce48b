"""A scratch database on a server that holds other things as well.

It belongs to a login role that is made for it and dropped with it, which owns nothing else
and has no right over the server: what runs there can't reach what is not its own. A role
that may do more than that is never used for it (#11).

The run holds a lock on the server as long as it lives. Others see by it that the scratch is
in use, whatever host they are on; what nobody locks is swept.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.engine import URL

from toolkit.database.errors import DatabaseError
from toolkit.database.folders import new_name
from toolkit.database.places import server_name
from toolkit.database.session import FAILURES, Session
from toolkit.database.urls import Kind
from toolkit.project.facts import Problem
from toolkit.report.door import say
from toolkit.report.exits import Exit
from toolkit.report.masking import mask

State = dict[str, str]
S = TypeVar("S", bound="Server")


class NotHere(Exception):
    """The server may not be used, or does not let itself be used. One line, without password."""


@dataclass(frozen=True)
class Signs:
    """Of production: those found so far, and whether they matter."""

    found: list[str]
    binding: bool
    """False where a person named this server on the command line."""

    def check(self, more: list[str]) -> list[str]:
        """All signs, for a note. Raises NotHere if they matter."""
        signs = [*self.found, *more]
        if signs and self.binding:
            raise NotHere(f"it looks like production: {'; '.join(signs)}")
        return signs


class Server:
    """One session of the URL's role, and what it does for scratches. Made for one dialect."""

    kind: Kind
    on_demand: tuple[str, ...] = ()

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def name(self) -> str:
        return server_name(self.session.url, self.kind)

    def signs(self) -> list[str]:
        """What the server itself tells of production."""
        raise NotImplementedError

    def lock(self, name: str) -> None:
        """Hold it until the session ends."""
        raise NotImplementedError

    def left_over(self) -> set[str]:
        """Scratches of killed runs: databases and roles that nobody locks."""
        raise NotImplementedError

    def make_role(self, name: str, password: str) -> bool:
        """False where the URL's role is used as it is. Raises NotHere."""
        raise NotImplementedError

    def make_database(self, name: str, role: str | None) -> None:
        raise NotImplementedError

    def dropping(self, name: str) -> list[str]:
        """The statements that drop the database and the role of this name."""
        raise NotImplementedError

    def drop(self, name: str) -> None:
        """Run them. Raises one of FAILURES."""
        for statement in self.dropping(name):
            self.session.run(statement)

    def renew(self) -> None:
        """Have a session again if this one was lost. Raises one of FAILURES."""
        try:
            self.session.run("SELECT 1")
        except FAILURES:
            if self.session.hurried:
                raise
            lost, self.session = self.session, Session(self.session.url)
            lost.close()

    def state(self) -> State:
        """What a proof has to leave as it is; without scratches."""
        raise NotImplementedError


def begun(made: Callable[[Session], S], session: Session) -> S:
    """The server of this session, which is closed where it is of no use."""
    try:
        return made(session)
    except BaseException:
        session.close()
        raise


def first_line(error: BaseException, url: URL) -> str:
    text = str(getattr(error, "orig", None) or error or type(error).__name__)
    lines = mask(text, {str(url.password or "")}).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class Shared:
    """The scratches of one run on one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.role: str | None = None
        self.password = secrets.token_urlsafe(18)
        self.before: State = {}

    def begin(self) -> URL:
        """An empty database; its address. Raises NotHere or one of FAILURES."""
        name = new_name()
        self.server.lock(name)
        with contextlib.suppress(*FAILURES):
            # Twice: a role goes when the last of its databases has gone.
            for left in sorted(self.server.left_over()) * 2:
                with contextlib.suppress(*FAILURES):
                    self.server.drop(left)
        self.before = self.server.state()
        try:
            if self.server.make_role(name, self.password):
                self.role = name
            self.server.make_database(name, self.role)
            url = self.url(name)
            log_in(url, self.server.name)
        except BaseException:
            self.drop(name)
            raise
        return url

    def url(self, name: str) -> URL:
        admin = self.server.session.url
        if self.role is None:
            return admin.set(database=name)
        return admin.set(database=name, username=self.role, password=self.password)

    @contextlib.contextmanager
    def another(self) -> Iterator[URL]:
        """One more database of the same role."""
        name = new_name()
        self.server.lock(name)
        try:
            self.server.make_database(name, self.role)
            yield self.url(name)
        finally:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Say what stays behind, with the command."""
        try:
            self.server.renew()
            self.server.drop(name)
        except FAILURES as error:
            statements = "; ".join(self.server.dropping(name))
            say(
                f"LEFT BEHIND on {self.server.name}: {name} could not be dropped"
                f" ({first_line(error, self.server.session.url)}). The next run there tries again;"
                f" or run there: {statements}"
            )

    def compare(self) -> None:
        """Raise DatabaseError if something of the server is not as it was."""
        try:
            self.server.renew()
            after = self.server.state()
        except FAILURES as error:
            said = first_line(error, self.server.session.url)
            say(f"{self.server.name} could not be compared with before: {said}")
            return
        found = [f"{name} is gone" for name in self.before if name not in after]
        found += [
            f"{name} has changed"
            for name in self.before
            if name in after and after[name] != self.before[name]
        ]
        if found:
            raise harmed(self.server.name, found)


def harmed(server: str, found: list[str]) -> DatabaseError:
    return DatabaseError(
        Problem(
            "harmed",
            f"INTERNAL ERROR: THE SERVER {server} IS NOT AS IT WAS BEFORE THE PROOF:"
            f" {'; '.join(found[:10])}" + (f"; and {len(found) - 10} more" * (len(found) > 10)),
            "The proof's role has no right to do that: unless somebody else did it at this moment,"
            " please report it. Do not run this again on that server.",
            Exit.INTERNAL,
        )
    )


def log_in(url: URL, server: str) -> None:
    """Raise NotHere where the new role does not get in (`peer`, a pooler, an access list)."""
    try:
        Session(url).close()
    except FAILURES as error:
        raise NotHere(
            f"the role that was made for the proof can't log in at {server}:"
            f" {first_line(error, url)}"
        ) from None
