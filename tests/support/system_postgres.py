"""A PostgreSQL of the machine's own packages, with TLS: the wheel's is built without OpenSSL."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.ports import reserve_port
from cluster.users import unprivileged_user

PASSWORD = "a-password-of-this-server"
_START_TIMEOUT_S = 30.0


def binaries() -> Path | None:
    """The newest installed server that has initdb beside it, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[4]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).resolve().parent


@dataclass(frozen=True, slots=True)
class TlsPostgres:
    """It takes TLS only. `authority` signed its certificate, which is for `localhost` and not for 127.0.0.1."""

    port: int
    authority: Path
    other_authority: Path

    def url(self, parameters: str, host: str = "localhost", database: str = "postgres") -> str:
        """The superuser's."""
        return f"postgresql://postgres:{PASSWORD}@{host}:{self.port}/{database}{parameters}"


@contextmanager
def tls_postgres(directory: Path, bin_directory: Path) -> Iterator[TlsPostgres]:
    """A server below `directory`, which the server's user can reach."""
    user = unprivileged_user()
    home = directory / "tls-postgres"
    home.mkdir()
    authority = certificate(home, "authority", None)
    other = certificate(home, "other", None)
    certificate(home, "server", "localhost", authority)
    (home / "password").write_text(PASSWORD)
    as_user: dict[str, object] = {}
    if user is not None:
        as_user = {"user": user.uid, "group": user.gid, "extra_groups": []}
        for path in (home, *home.iterdir()):
            os.chown(path, user.uid, user.gid)
    data = home / "data"
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(home)}
    subprocess.run(
        [str(bin_directory / "initdb"), "-D", str(data), "-U", "postgres", "-E", "UTF8", "--locale=C",
         "--auth=scram-sha-256", f"--pwfile={home / 'password'}", "--no-sync"],
        check=True, capture_output=True, cwd=home, env=environment, timeout=120, **as_user,  # type: ignore[call-overload]  # the mapping is user, group, extra_groups
    )  # fmt: skip
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    reserved = reserve_port(None)
    settings = {
        "listen_addresses": "127.0.0.1", "port": str(reserved.number), "unix_socket_directories": "",
        "ssl": "on", "ssl_cert_file": str(home / "server.pem"), "ssl_key_file": str(home / "server.key"),
        "fsync": "off", "shared_buffers": "32MB",
    }  # fmt: skip
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(bin_directory / "postgres"), "-D", str(data), *(f"--{k}={v}" for k, v in settings.items())],
            stdout=log, stderr=log, cwd=home, env=environment, **as_user,  # type: ignore[call-overload]  # as above
        )  # fmt: skip
    try:
        found = TlsPostgres(reserved.number, home / "authority.pem", other)
        _wait_for(bin_directory / "pg_isready", found, home / "log")
        yield found
    finally:
        server.terminate()
        server.wait(20)
        reserved.release()


def _wait_for(pg_isready: Path, server: TlsPostgres, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    question = [str(pg_isready), "-q", "-h", "127.0.0.1", "-p", str(server.port)]
    while subprocess.run(question, check=False, timeout=10).returncode != 0:
        if time.monotonic() > deadline:
            raise AssertionError(log.read_text(errors="replace"))
        time.sleep(0.05)


def certificate(home: Path, name: str, host: str | None, authority: Path | None = None) -> Path:
    """`name`.pem and `name`.key: an authority's own, or one for `host`, signed by `authority`."""
    file, key = home / f"{name}.pem", home / f"{name}.key"
    signed_by = (
        () if authority is None else ("-CA", str(authority), "-CAkey", str(authority.with_suffix(".key")))
    )
    extension = "basicConstraints=critical,CA:TRUE" if host is None else f"subjectAltName=DNS:{host}"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", extension, "-keyout", str(key), "-out", str(file), *signed_by],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    key.chmod(0o600)
    return file
