"""Certificates for a private server, made by openssl when they are needed."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    file: Path
    key: Path


def make_authority(folder: Path, name: str = "authority") -> Certificate:
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "30", "-subj", f"/CN={name}", "-out", made.file, "-keyout", made.key),
    )
    return made


def make_certificate(
    folder: Path, authority: Certificate, name: str, *, alternative: str, days: int = 30
) -> Certificate:
    """`alternative`: `IP:127.0.0.1`. With negative `days` it has expired."""
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={alternative}\n")
    openssl(
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", f"/CN={name}", "-out", request, "-keyout", made.key),
    )
    openssl(
        *("x509", "-req", "-in", request, "-CA", authority.file, "-CAkey", authority.key),
        *("-CAcreateserial", "-days", days, "-extfile", extensions, "-out", made.file),
    )
    return made


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)
