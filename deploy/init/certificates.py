"""Authorities and certificates for etcd, made with the `openssl` command that every Debian image has.

Two authorities, so that a replica's certificate opens etcd's client port and never its peer port.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.init.files import PRIVATE, SHARED, put
from deploy.init.keys import CannotInit

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 825
RENEW_BEFORE_S = 60 * 86_400
_TIMEOUT_S = 30
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256")

Use = Literal["serverAuth", "clientAuth"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths in PEM format."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority below `directory`, where its key stays."""

    directory: Path
    name: str

    @property
    def own(self) -> Certificate:
        """Its self-signed certificate, made if it is not there."""
        pair = self._pair(self.name)
        if not pair.certificate.exists():
            extensions = (
                "basicConstraints=critical,CA:TRUE,pathlen:0",
                "keyUsage=critical,keyCertSign,cRLSign",
            )
            _request(pair, f"middleman {self.name}", extensions, AUTHORITY_DAYS)
        return pair

    def issue(self, name: str, uses: Sequence[Use], alternative_names: Sequence[str] = ()) -> Certificate:
        """A certificate for `name`; made anew when it is about to run out. Raises `CannotInit`.

        Without alternative names it identifies nobody by address, which is right for clients.
        """
        signer, pair = self.own, self._pair(f"{self.name}-{name}")
        if not pair.certificate.exists() or _runs_out(pair.certificate):
            extensions = [
                "basicConstraints=critical,CA:FALSE",
                "keyUsage=critical,digitalSignature",
                f"extendedKeyUsage={','.join(uses)}",
            ]
            if alternative_names:
                extensions.append(f"subjectAltName={','.join(alternative_names)}")
            signed_by = ("-CA", str(signer.certificate), "-CAkey", str(signer.key))
            _request(pair, name, extensions, CERTIFICATE_DAYS, signed_by)
        return pair

    def _pair(self, stem: str) -> Certificate:
        return Certificate(self.directory / f"{stem}.pem", self.directory / f"{stem}-key.pem")


def _request(
    pair: Certificate, name: str, extensions: Sequence[str], days: int, signed_by: Sequence[str] = ()
) -> None:
    """The certificate is laid down last: where it is, its key is, too."""
    with tempfile.TemporaryDirectory() as draft:
        config, certificate, key = (Path(draft) / part for part in ("config", "certificate", "key"))
        config.write_text("[req]\ndistinguished_name = dn\n[dn]\n[ext]\n" + "\n".join(extensions) + "\n")
        _openssl(
            *("req", "-x509", "-config", str(config), "-extensions", "ext", "-subj", f"/CN={name}"),
            *("-days", str(days), *_KEY, *signed_by, "-keyout", str(key), "-out", str(certificate)),
        )
        put(pair.key, key.read_bytes(), PRIVATE)
        put(pair.certificate, certificate.read_bytes(), SHARED)


def _runs_out(certificate: Path) -> bool:
    checked = _run("x509", "-in", str(certificate), "-noout", "-checkend", str(RENEW_BEFORE_S))
    return checked.returncode != 0


def _openssl(*arguments: str) -> None:
    done = _run(*arguments)
    if done.returncode != 0:
        raise CannotInit(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603  # arguments of our own making, no shell
            ("openssl", *arguments),  # noqa: S607  # wherever the image has it
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise CannotInit("there is no `openssl` command here: install the package openssl") from error
