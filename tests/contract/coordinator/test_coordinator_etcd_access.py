"""How the etcd adapter is let in: configuration, users whose tokens expire, TLS, etcd's shortest lease."""

import asyncio
import itertools
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from etcd3 import etcdrpc
from tests.support.coordinator_rigs import BRISK, CLOCK

from cluster.environment import clean_environment
from cluster.etcd_binary import etcd_binary
from cluster.health import answers_ok
from cluster.leashed import Command
from cluster.ports import HOST, reserve_port
from cluster.process import ManagedProcess
from middleman.adapters.etcd import EtcdConfig, EtcdCoordinator, EtcdTls
from middleman.leadership.timing import LeaseTiming
from middleman.ports.coordinator import CoordinatorMisconfigured, CoordinatorUnavailable

pytestmark = pytest.mark.timeout(60)
_names = itertools.count(1)
BRISK_RAFT = ("--heartbeat-interval=50", "--election-timeout=500")


@asynccontextmanager
async def _etcd(root: Path, scheme: str, options: Sequence[str]) -> AsyncIterator[str]:
    """One member with options of its own; its endpoint."""
    client, peer, metrics = reserve_port(), reserve_port(), reserve_port()
    name = f"access-{next(_names)}"
    url, peer_url = f"{scheme}://{HOST}:{client.number}", f"http://{HOST}:{peer.number}"
    metrics_url = f"http://{HOST}:{metrics.number}"  # health without a certificate
    argv = (
        etcd_binary(),
        f"--name={name}",
        f"--data-dir={root / name}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster={name}={peer_url}",
        f"--listen-metrics-urls={metrics_url}",
        "--log-level=warn",
        *BRISK_RAFT,
        *options,  # of two equal options the last one counts
    )

    member = ManagedProcess(
        name=name,
        kind="etcd",
        command=lambda: Command(argv, clean_environment()),
        log_path=root / f"{name}.log",
        probe=lambda: answers_ok(f"{metrics_url}/health"),
        port=client.number,
    )
    try:
        await member.start()
        yield f"{HOST}:{client.number}"
    finally:
        await member.kill()
        for port in (client, peer, metrics):
            port.release()


@asynccontextmanager
async def _coordinator(config: EtcdConfig, timing: LeaseTiming = BRISK) -> AsyncIterator[EtcdCoordinator]:
    coordinator = EtcdCoordinator(config, timing, clock=CLOCK, uniform=random.Random(7).random)
    try:
        yield coordinator
    finally:
        await coordinator.close()


async def _require_a_user(endpoint: str, password: str) -> None:
    async with grpc.aio.insecure_channel(endpoint) as channel:
        auth = etcdrpc.AuthStub(channel)
        await auth.UserAdd(etcdrpc.AuthUserAddRequest(name="root", password=password), timeout=5)
        await auth.RoleAdd(etcdrpc.AuthRoleAddRequest(name="root"), timeout=5)
        await auth.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user="root", role="root"), timeout=5)
        await auth.AuthEnable(etcdrpc.AuthEnableRequest(), timeout=5)


async def test_a_user_is_let_in_and_stays_in_while_tokens_expire(server_root: Path) -> None:
    async with _etcd(server_root, "http", ["--auth-token-ttl=1"]) as endpoint:
        await _require_a_user(endpoint, "open sesame")
        config = EtcdConfig((endpoint,), user="root", password="open sesame")
        async with _coordinator(config) as client:
            await client.check()
            async with client.candidacy(0, "a") as leader:
                election = await leader.elected()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(leader.lost(), 1.5 * BRISK.lease_ttl_s)
                assert await leader.still_elected()
                async with client.candidacy(0, "b") as follower:
                    await leader.resign()
                    successor = await asyncio.wait_for(follower.elected(), 1)
                    assert successor.revision > election.revision


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its keys with openssl")
async def test_a_change_of_etcds_users_makes_signed_tokens_stale_and_stops_no_election(
    server_root: Path,
) -> None:
    """A JWT names the revision of the user database. etcd 3.4 and 3.5.1 complain of an old one in words of their own."""
    keys = await asyncio.to_thread(_make_signing_keys, server_root / "jwt-keys")
    signed = f"jwt,pub-key={keys / 'public.pem'},priv-key={keys / 'private.pem'},sign-method=RS256,ttl=10m"
    async with _etcd(server_root, "http", [f"--auth-token={signed}"]) as endpoint:
        await _require_a_user(endpoint, "open sesame")
        config = EtcdConfig((endpoint,), user="root", password="open sesame")
        async with _coordinator(config) as client, _coordinator(config) as other:
            await client.check()
            async with client.candidacy(0, "a") as leader:
                first = await leader.elected()
                async with other.candidacy(0, "b") as follower:
                    assert await other.leader(0) is not None
                    await _add_a_user(endpoint, "open sesame", "other")
                    assert await leader.still_elected()
                    await leader.resign()
                    second = await asyncio.wait_for(follower.elected(), 1)
                    assert second.revision > first.revision
                    await _add_a_user(endpoint, "open sesame", "another")
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(follower.lost(), 1.5 * BRISK.lease_ttl_s)


async def _add_a_user(endpoint: str, root_password: str, name: str) -> None:
    async with grpc.aio.insecure_channel(endpoint) as channel:
        auth = etcdrpc.AuthStub(channel)
        request = etcdrpc.AuthenticateRequest(name="root", password=root_password)
        token = (await auth.Authenticate(request, timeout=5)).token
        await auth.UserAdd(
            etcdrpc.AuthUserAddRequest(name=name, password="x"), timeout=5, metadata=(("token", token),)
        )


def _make_signing_keys(directory: Path) -> Path:
    directory.mkdir()
    private = ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "private.pem")
    for arguments in (private, ("pkey", "-in", "private.pem", "-pubout", "-out", "public.pem")):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=30)
    return directory


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [("root", "wrong", "check user and password"), (None, None, "set etcd's user and password")],
)
async def test_a_refused_user_is_a_misconfiguration_that_says_what_to_do(
    server_root: Path, user: str | None, password: str | None, message: str
) -> None:
    async with _etcd(server_root, "http", []) as endpoint:
        await _require_a_user(endpoint, "open sesame")
        async with _coordinator(EtcdConfig((endpoint,), user=user, password=password)) as client:
            with pytest.raises(CoordinatorMisconfigured, match=message) as refusal:
                await client.check()
            assert "wrong" not in str(refusal.value)
            with pytest.raises(CoordinatorMisconfigured, match=message):
                async with client.candidacy(0, "a"):
                    pytest.fail("a candidacy for a stranger, to whom etcd grants leases")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
async def test_tls_with_a_client_certificate_is_let_in_and_nothing_else_is(server_root: Path) -> None:
    certs = await asyncio.to_thread(_make_certificates, server_root / "certs")
    options = [
        f"--cert-file={certs / 'server.pem'}",
        f"--key-file={certs / 'server.key'}",
        f"--trusted-ca-file={certs / 'ca.pem'}",
        "--client-cert-auth",
    ]
    async with _etcd(server_root, "https", options) as endpoint:
        ours = EtcdTls(certs / "ca.pem", certs / "client.pem", certs / "client.key")
        async with _coordinator(EtcdConfig((endpoint,), tls=ours)) as client:
            await client.check()
            async with client.candidacy(0, "a") as leader:
                await leader.elected()
                assert await leader.still_elected()
        async with (
            _coordinator(EtcdConfig((endpoint,), tls=EtcdTls(certs / "ca.pem"))) as nameless,
            _coordinator(EtcdConfig((endpoint,))) as plain,
        ):
            refusals = await asyncio.gather(nameless.check(), plain.check(), return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [CoordinatorUnavailable] * 2
        assert all("UNAVAILABLE" in str(refusal) for refusal in refusals)


def _make_certificates(directory: Path) -> Path:
    directory.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test-ca", "-days", "2")
    (directory / "san.cnf").write_text(f"subjectAltName=IP:{HOST}\n")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", *signed_by, "-out", f"{name}.pem", "-extfile", "san.cnf"
        )
    return directory


async def test_a_lease_that_one_member_lengthens_is_reported_and_trusted_no_longer_than_asked_for(
    server_root: Path,
) -> None:
    slow = ["--heartbeat-interval=200", "--election-timeout=2000"]
    async with _etcd(server_root, "http", slow) as endpoint, _coordinator(EtcdConfig((endpoint,))) as client:
        with pytest.raises(CoordinatorMisconfigured, match="set lease_ttl_s to at least 3"):
            await client.check()
        async with client.candidacy(0, "a") as leader:
            await leader.elected()
            assert leader.trust.remaining_s() <= BRISK.lease_ttl_s - BRISK.margin_s


async def test_nobody_listening_is_unavailable_within_the_budget() -> None:
    nowhere = reserve_port()
    try:
        async with _coordinator(EtcdConfig((f"{HOST}:{nowhere.number}",))) as client:
            with pytest.raises(CoordinatorUnavailable, match="UNAVAILABLE"):
                await asyncio.wait_for(client.check(), BRISK.call_budget_s + 0.5)
    finally:
        nowhere.release()


async def test_closing_twice_is_harmless_and_a_closed_client_says_so() -> None:
    async with _coordinator(EtcdConfig(("127.0.0.1:1",))) as client:
        await client.close()
        with pytest.raises(RuntimeError, match="was closed"):
            await client.leader(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"endpoints": ()}, "list every member"),
        ({"endpoints": ("http://etcd:2379",)}, "is not host:port"),
        ({"endpoints": ("etcd",)}, "is not host:port"),
        ({"endpoints": ("etcd:0",)}, "is not host:port"),
        ({"endpoints": ("::1:2379",)}, "IPv6 address in brackets"),
        ({"endpoints": ("etcd:99999",)}, "is not host:port"),
        ({"endpoints": ("a:1", "a:1")}, "listed twice"),
        ({"endpoints": ("a:1",), "user": "root"}, "go together"),
    ],
)
def test_a_bad_configuration_is_refused_with_what_to_write(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EtcdConfig(**arguments)  # type: ignore[arg-type]  # wrong values are the point


def test_addresses_of_every_kind_are_accepted_and_a_majority_is_more_than_half() -> None:
    config = EtcdConfig(("etcd-1.internal:2379", "127.0.0.1:2379", "[::1]:2379"))
    assert config.majority == 2
    assert [EtcdConfig(tuple(f"m{i}:1" for i in range(n))).majority for n in (1, 2, 4, 5)] == [1, 2, 3, 3]


def test_tls_files_have_to_exist_and_certificate_and_key_go_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        EtcdTls(ca_path=tmp_path / "nowhere.pem")
    with pytest.raises(ValueError, match="go together"):
        EtcdTls(cert_path=tmp_path)


def test_a_password_is_not_shown_by_the_configuration() -> None:
    assert "sesame" not in repr(EtcdConfig(("a:1",), user="root", password="open sesame"))


def test_a_contradictory_timing_is_refused_with_every_broken_rule() -> None:
    timing = LeaseTiming(margin_s=2.0, hedge_s=0.0)
    with pytest.raises(ValueError, match=r"margin_s is 2\.0.*hedge_s is 0\.0"):
        EtcdCoordinator(EtcdConfig(("a:1",)), timing, clock=CLOCK, uniform=random.Random(7).random)
