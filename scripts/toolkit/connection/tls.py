"""Do client and server agree on TLS, and is the certificate one to trust?"""

import datetime
import ssl
import time

from toolkit.connection.address import Target
from toolkit.connection.network import Address
from toolkit.connection.steps import Layer, Status, Step, Verdict, judged, not_checked, ok, stop
from toolkit.connection.waiting import in_thread
from toolkit.connection.wire import Handshake, Peer, shake_hands
from toolkit.report.quoting import word

SECONDS = 5.0
DAY = 86400
SOON = 21 * DAY
OLD = ("SSLv3", "TLSv1", "TLSv1.1")


async def check_tls(
    target: Target, address: Address | None, peer: Peer | None, seconds: float
) -> Step:
    """Raises Broken."""
    if address is None or peer is None:
        return not_checked(Layer.TLS, "no TLS on a Unix socket")
    wanted = target.tls
    asks = f"client: {wanted.mode}"
    if not peer.offers_tls:
        if wanted.demanded:
            stop(
                Layer.TLS,
                f"The client demands TLS ({wanted.mode}), and the server offers none.",
                "Switch it on at the server (PostgreSQL: ssl = on with a certificate; MySQL: the"
                " settings ssl_cert and ssl_key), or ask for less: sslmode=prefer.",
                [asks, "server: no TLS"],
            )
        return ok(
            Layer.TLS,
            "none: the server offers no TLS, the client does not demand it",
            offered=False,
            mode=wanted.mode,
        )
    if wanted.mode == "disable":
        return ok(
            Layer.TLS,
            "offered, and not used: the client asks for none",
            offered=True,
            mode="disable",
        )
    limit = min(seconds, SECONDS)
    verifying = verifying_context(target)
    try:
        found = await in_thread(
            lambda: shake_hands(
                (address.ip, address.port), target.kind, address.host, verifying, limit
            ),
            2 * limit,
        )
    except (TimeoutError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error) or "no answer"
        if not wanted.demanded:
            return ok(Layer.TLS, f"offered, but no handshake succeeds: {reason}", [asks])
        stop(
            Layer.TLS,
            f"The server offers TLS, but no handshake succeeds: {reason}.",
            f"openssl s_client -connect {word(address.shown)} -starttls"
            f" {'mysql' if target.kind == 'mysql' else 'postgres'}",
            [asks],
        )
    return judge(target, found, asks)


def verifying_context(target: Target) -> ssl.SSLContext | None:
    """What the client would verify with; None if it does not. Raises Broken without a root."""
    wanted = target.tls
    if not wanted.verified:
        return None
    if wanted.context is not None:
        return wanted.context
    if wanted.root is None:
        stop(
            Layer.TLS,
            f"The client demands {wanted.mode}, and no root certificate is named.",
            "Add sslrootcert=/path/to/root.crt to the URL (sslrootcert=system: this machine's).",
        )
    try:
        context = ssl.create_default_context(
            cafile=None if wanted.root == "system" else wanted.root
        )
    except OSError as error:
        stop(
            Layer.TLS,
            f"The root certificate {wanted.root} cannot be read: {error.strerror or 'not PEM'}.",
            "Name the file with the certificate of the authority that signed the server's.",
        )
    context.check_hostname = wanted.mode == "verify-full"
    return context


def judge(target: Target, found: Handshake, asks: str) -> Step:
    wanted = target.tls
    evidence = [f"{asks}; server: {found.version}, {found.cipher}"]
    verdicts: list[Verdict] = []
    now = time.time()
    # Who demands TLS has a reason to; the others would go on without.
    bad = Status.BROKEN if wanted.demanded else Status.WARNING
    renew = "Renew the server's certificate and reload the server."
    if found.begins is not None and found.ends is not None:
        evidence.append(f"certificate: {day(found.begins)} to {day(found.ends)}")
        if found.ends < now:
            verdicts.append(Verdict(bad, f"The certificate expired on {day(found.ends)}.", renew))
        elif found.begins > now:
            message = f"The certificate is not valid before {day(found.begins)}."
            verdicts.append(Verdict(bad, message, "Compare the clocks, or wait."))
        elif found.ends - now < SOON:
            left = int((found.ends - now) / DAY)
            message = f"The certificate expires in {left} days."
            verdicts.append(Verdict(Status.WARNING, message, renew))
    if found.failure and not any(one.status is Status.BROKEN for one in verdicts):
        verdicts.append(
            Verdict(
                Status.BROKEN,
                f"The certificate does not verify ({wanted.mode}): {found.failure}.",
                "Name the authority that signed it in sslrootcert, and the host as the"
                " certificate has it.",
            )
        )
    if found.version in OLD:
        message = f"{found.version} is out of date."
        verdicts.append(Verdict(Status.WARNING, message, "Let the server speak TLS 1.2 and 1.3."))
    verified = "verified" if wanted.verified else "not verified"
    return judged(
        Layer.TLS,
        f"{found.version}, the certificate {verified}",
        verdicts,
        evidence,
        offered=True,
        mode=wanted.mode,
        version=found.version,
        not_after=found.ends,
    )


def day(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).date().isoformat()
