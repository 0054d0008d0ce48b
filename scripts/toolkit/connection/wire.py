"""The first words with a server, by hand: what listens there, and does it offer TLS?

A driver says "connection lost" where a mail server listens. PostgreSQL answers one byte to
SSLRequest; MySQL speaks first.
"""

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass

from toolkit.connection.der import validity
from toolkit.database.urls import Kind

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
CLIENT_SSL = 0x0800
# PROTOCOL_41, SSL, SECURE_CONNECTION, LONG_PASSWORD; 16 MiB packets; utf8mb4.
MYSQL_SSL_REQUEST = struct.pack("<IIB23x", 0x8A01, 1 << 24, 45)
SILENCE = 2.0  # seconds without a word, after which it is none of these protocols


@dataclass(frozen=True)
class Peer:
    """Who answers at an address."""

    speaks: str
    """`postgresql`, `mysql`, another protocol's name, or empty: it says nothing."""
    offers_tls: bool = False
    version: str = ""
    """MySQL says it at once."""
    refusal: tuple[int, str] | None = None
    """MySQL's error instead of a greeting: number and text."""


@dataclass(frozen=True)
class Handshake:
    """A TLS handshake that did not verify, and what a verifying one says."""

    version: str
    cipher: str
    begins: float | None
    ends: float | None
    """The certificate's dates as seconds since 1970."""
    failure: str = ""
    """Why verification fails; empty when it succeeds or was not asked for."""


def ask(address: tuple[str, int], kind: Kind, seconds: float) -> Peer:
    """Who is at `address`? Raises OSError when the connection breaks."""
    with socket.create_connection(address, seconds) as connection:
        if kind == "mysql":
            return ask_mysql(connection, min(seconds, SILENCE))
        connection.sendall(SSL_REQUEST)
        connection.settimeout(seconds)
        return recognised(received(connection))


def ask_mysql(connection: socket.socket, seconds: float) -> Peer:
    """A greeting that is not answered counts as an aborted connect, which a login resets."""
    connection.settimeout(seconds)
    first = received(connection)
    if first:
        return recognised(first)
    # Silence: PostgreSQL waits for its client to begin.
    connection.sendall(SSL_REQUEST)
    return recognised(received(connection))


def received(connection: socket.socket) -> bytes:
    """What comes first; empty for silence. Raises OSError when it is a reset."""
    with contextlib.suppress(TimeoutError):
        return connection.recv(512)
    return b""


def recognised(first: bytes) -> Peer:
    # Before the single letters: a greeting may begin with any byte.
    if len(first) > 5 and first[3] == 0 and first[4] in (9, 10, 0xFF):
        return greeting(first[4:])
    if first in (b"S", b"N"):
        return Peer("postgresql", offers_tls=first == b"S")
    if first[:1] == b"E" and b"SFATAL" in first:
        return Peer("postgresql")
    return Peer(protocol_of(first))


def greeting(packet: bytes) -> Peer:
    if packet[0] == 0xFF:
        number = struct.unpack("<H", packet[1:3])[0]
        text = packet[3:].decode("utf-8", "replace")
        return Peer("mysql", refusal=(number, text[6:] if text[:1] == "#" else text))
    version, _, rest = packet[1:].partition(b"\0")
    flags = struct.unpack("<H", rest[13:15])[0] if len(rest) >= 15 else 0
    return Peer("mysql", bool(flags & CLIENT_SSL), version.decode("ascii", "replace"))


def protocol_of(first: bytes) -> str:
    if not first:
        return ""
    for beginning, name in (
        (b"HTTP/", "HTTP"),
        (b"SSH-", "SSH"),
        (b"-ERR", "Redis"),
        (b"\x15\x03", "TLS from the first byte (HTTPS?)"),
        (b"220", "SMTP or FTP"),
        (b"+OK", "POP3"),
    ):
        if first.startswith(beginning):
            return name
    return "an unknown protocol"


def shake_hands(
    address: tuple[str, int],
    kind: Kind,
    name: str,
    verifying: ssl.SSLContext | None,
    seconds: float,
) -> Handshake:
    """TLS with the server, unverified first, so that its certificate's dates can be shown.

    `name` is the host as the URL has it. Raises OSError when there is no handshake at all.
    """
    plain = ssl.create_default_context()
    plain.check_hostname = False
    plain.verify_mode = ssl.CERT_NONE
    with upgraded(address, kind, name, plain, seconds) as connection:
        certificate = connection.getpeercert(binary_form=True) or b""
        cipher = connection.cipher()
        version = connection.version() or "?"
    begins, ends = validity(certificate)
    failure = ""
    if verifying is not None:
        try:
            upgraded(address, kind, name, verifying, seconds).close()
        except ssl.SSLCertVerificationError as error:
            failure = error.verify_message or "it does not verify"
    return Handshake(version, cipher[0] if cipher else "?", begins, ends, failure)


def upgraded(
    address: tuple[str, int], kind: Kind, name: str, context: ssl.SSLContext, seconds: float
) -> ssl.SSLSocket:
    connection = socket.create_connection(address, seconds)
    try:
        if kind == "mysql":
            connection.recv(512)
            header = struct.pack("<I", len(MYSQL_SSL_REQUEST))[:3] + b"\x01"
            connection.sendall(header + MYSQL_SSL_REQUEST)
        else:
            connection.sendall(SSL_REQUEST)
            connection.recv(1)
        return context.wrap_socket(connection, server_hostname=name)
    except BaseException:
        connection.close()
        raise
