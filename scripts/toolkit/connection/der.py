"""The dates of a certificate that is not trusted, which Python's ssl shows of trusted ones only.

A certificate is nested DER: `SEQUENCE { tbsCertificate SEQUENCE { [0] version OPTIONAL,
serialNumber, signature, issuer, validity SEQUENCE { notBefore, notAfter }, ... } }` (RFC 5280).
"""

import datetime
from collections.abc import Iterator

SEQUENCE, VERSION, UTC_TIME = 0x30, 0xA0, 0x17


def validity(certificate: bytes) -> tuple[float | None, float | None]:
    """The first and the last second of its validity; (None, None) if it cannot be read."""
    try:
        whole = next(elements(certificate))[1]
        fields = list(elements(next(elements(whole))[1]))
        place = 4 if fields[0][0] == VERSION else 3
        begin, end = list(elements(fields[place][1]))[:2]
        return moment(*begin), moment(*end)
    except (IndexError, StopIteration, ValueError):
        return None, None


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in a row of them."""
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        yield tag, data[position : position + length]
        position += length


def moment(tag: int, text: bytes) -> float:
    form = "%y%m%d%H%M%SZ" if tag == UTC_TIME else "%Y%m%d%H%M%SZ"
    parsed = datetime.datetime.strptime(text.decode("ascii"), form)
    return parsed.replace(tzinfo=datetime.UTC).timestamp()
