"""From the host's name to a server of the right kind."""

import asyncio
import errno
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.connection.address import Target, no_address
from toolkit.connection.failures import judge_mysql
from toolkit.connection.steps import Broken, Layer, Step, ok, stop, warning
from toolkit.connection.waiting import in_thread
from toolkit.connection.wire import Peer, ask
from toolkit.database.urls import TITLES
from toolkit.report.quoting import word

NAME_SECONDS = 5.0
CONNECT_SECONDS = 5.0
MOST_ADDRESSES = 8


@dataclass(frozen=True)
class Address:
    """One address of the host, and whether it answered."""

    host: str
    """The name in the URL."""
    ip: str
    port: int
    milliseconds: float | None = None
    failure: str = ""
    """Why there is no connection; empty when there is one."""
    refused: bool = False

    @property
    def shown(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


async def look_up(target: Target, seconds: float) -> tuple[tuple[Address, ...], Step]:
    """All addresses of the URL's hosts. Raises Broken."""
    if not target.hosts:
        return (), no_address(target)
    found: list[Address] = []
    for host, port in target.hosts:
        limit = min(seconds, NAME_SECONDS)
        try:
            rows = await in_thread(lambda h=host, p=port: resolve(h, p), limit)  # type: ignore[misc]
        except TimeoutError:
            stop(
                Layer.NAME,
                f"The resolver has not answered for {host} in {limit:g} s.",
                f"getent ahosts {word(host)}",
            )
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no valid name"
            stop(
                Layer.NAME,
                f"The host {host} has no address: {reason}.",
                f"getent ahosts {word(host)}",
                hint_for(host),
            )
        found += rows
    found = list(dict.fromkeys(found))[:MOST_ADDRESSES]
    shown = ", ".join(address.ip for address in found)
    names = ", ".join(host for host, _ in target.hosts)
    words = f"{names}: {shown}" if names != shown else f"{names} is an address"
    return tuple(found), ok(Layer.NAME, words, addresses=[address.ip for address in found])


def resolve(host: str, port: int) -> list[Address]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [Address(host, str(row[4][0]), port) for row in rows]


def hint_for(host: str) -> list[str]:
    if "." not in host and host != "localhost":
        return [f"{host} has no dot: a service of Docker or Kubernetes is known inside only"]
    return []


async def reach(
    target: Target, addresses: Sequence[Address], seconds: float
) -> tuple[Address | None, Peer | None, Step]:
    """The first address that answers, who is there, and the step. Raises Broken."""
    if target.socket is not None:
        return None, None, await reach_socket(target.socket, seconds)
    if not addresses:
        return None, None, ok(Layer.NETWORK, "left to the driver, as the URL names no host")
    limit = min(seconds, CONNECT_SECONDS)
    tried = await asyncio.gather(*(connect(address, limit) for address in addresses))
    lines = [one.failure or f"{one.shown} accepts in {one.milliseconds:.1f} ms" for one in tried]
    title = TITLES[target.kind]
    open_ones = [one for one in tried if not one.failure]
    if not open_ones:
        all_refused(tried, lines)
    first = open_ones[0]
    peer = await recognise(target, first, seconds, lines)
    words = f"{title} listens at {first.shown}, {first.milliseconds:.1f} ms"
    if peer.version:
        lines.append(f"it calls itself {peer.version}")
    data = {one.shown: one.milliseconds for one in tried}
    silent = [one for one in tried if one.failure and not one.refused]
    if silent:
        return (
            first,
            peer,
            warning(
                Layer.NETWORK,
                f"{len(silent)} of {len(tried)} addresses do not answer, and drivers try them too:"
                f" {', '.join(one.shown for one in silent)}.",
                "Take them out of the name's record, or write the address that answers.",
                lines,
                **data,
            ),
        )
    return first, peer, ok(Layer.NETWORK, words, lines[1 if len(tried) == 1 else 0 :], **data)


async def connect(address: Address, seconds: float) -> Address:
    started = time.monotonic()

    def work() -> None:
        socket.create_connection((address.ip, address.port), seconds).close()

    failure, refused = "", False
    try:
        await in_thread(work, seconds + 1)
    except TimeoutError:
        failure = f"{address.shown} does not answer in {seconds:g} s (a firewall drops it?)"
    except ConnectionRefusedError:
        failure, refused = f"{address.shown} refuses: nothing listens there", True
    except OSError as error:
        failure = f"{address.shown}: {error.strerror or type(error).__name__}"
        # A machine without IPv6 has no way to the IPv6 address of a host, which is no fault.
        refused = error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL) and ":" in address.ip
    milliseconds = None if failure else (time.monotonic() - started) * 1000
    return Address(address.host, address.ip, address.port, milliseconds, failure, refused)


def all_refused(tried: Sequence[Address], lines: Sequence[str]) -> None:
    """Raise Broken: not one address answers."""
    first = tried[0]
    if all(one.refused for one in tried):
        local = first.ip.startswith(("127.", "::1"))
        stop(
            Layer.NETWORK,
            f"Nothing listens at {first.host}, port {first.port}.",
            f"ss -ltn 'sport = :{first.port}'"
            if local
            else "Start the server there, or correct the port; it may listen on localhost only"
            " (PostgreSQL: listen_addresses, MySQL: bind-address).",
            lines,
        )
    stop(
        Layer.NETWORK,
        f"{first.host}, port {first.port}, does not answer: a firewall, a security group or a"
        " route in between drops what is sent.",
        f"nc -vz -w 5 {word(first.host)} {first.port}   # from a machine that should have access",
        lines,
    )


async def recognise(target: Target, address: Address, seconds: float, lines: Sequence[str]) -> Peer:
    """Who is at the address; raises Broken if it is not the kind of server that is meant."""
    limit = min(seconds, CONNECT_SECONDS)
    title = TITLES[target.kind]
    try:
        peer = await in_thread(
            lambda: ask((address.ip, address.port), target.kind, limit), limit + 3
        )
    except (TimeoutError, OSError) as error:
        reason = "says nothing" if isinstance(error, TimeoutError) else "ends the connection"
        peer = Peer("", version=reason)
    if peer.refusal is not None:
        raise Broken(judge_mysql(*peer.refusal, target))
    if peer.speaks == target.kind:
        return peer
    other = TITLES.get(peer.speaks, peer.speaks)  # type: ignore[call-overload]
    said = (
        f"{other} listens at {address.shown}, not {title}"
        if other
        else f"What listens at {address.shown} accepts, but {peer.version or 'says nothing'}:"
        f" it is not {title}, or it hangs, or a proxy has no server behind it"
    )
    stop(
        Layer.NETWORK,
        f"{said}.",
        f"Correct the port or the scheme in the URL ({title}'s usual port:"
        f" {3306 if target.kind == 'mysql' else 5432}).",
        lines,
    )


async def reach_socket(path: str, seconds: float) -> Step:
    def work() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(path)

    try:
        await in_thread(work, seconds)
    except (TimeoutError, OSError) as error:
        stop(
            Layer.NETWORK,
            f"The socket {path} cannot be reached:"
            f" {getattr(error, 'strerror', '') or 'no answer'}.",
            "Start the server, or correct the folder in the URL's `host` (`unix_socket`).",
        )
    return ok(Layer.NETWORK, f"the socket {path} accepts")
