"""What `deploy.init` lays down at a first start, keeps at the next, and refuses."""

import re
import subprocess
from pathlib import Path

import pytest
from deploy.init.__main__ import init, main
from deploy.init.certificates import Authority
from deploy.init.keys import CannotInit
from deploy.init.places import ETCD_MEMBERS

ROOT = Path(__file__).resolve().parents[3]
READERS = (
    "authority",
    "postgres",
    "owner",
    "api",
    "replica",
    "sandbox",
    "operator",
    "grafana",
    *ETCD_MEMBERS,
)
# Who runs as another user than ours: only that container mounts the volume.
READ_BY_OTHERS = {"postgres/superuser-password", "grafana/admin-password"}


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Empty volumes, as the compose file mounts them."""
    for reader in READERS:
        (tmp_path / "secrets" / reader).mkdir(parents=True)
    for member in ETCD_MEMBERS:
        (tmp_path / "etcd" / member).mkdir(parents=True)
    return tmp_path


def _init(volumes: Path, stripe_api_key: str = "", webhook_secret: str = "") -> int:
    return init(volumes / "secrets", volumes / "etcd", stripe_api_key, webhook_secret)


def _contents(volumes: Path) -> dict[str, bytes]:
    files = (path for path in (volumes / "secrets").rglob("*") if path.is_file())
    return {str(path.relative_to(volumes / "secrets")): path.read_bytes() for path in files}


def _openssl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(("openssl", *arguments), capture_output=True, text=True, timeout=30, check=False)


def test_a_second_start_changes_nothing(volumes: Path) -> None:
    assert _init(volumes) > 30
    first = _contents(volumes)
    assert _init(volumes) == 0
    assert _contents(volumes) == first


def test_an_interrupted_start_is_finished_by_the_next(volumes: Path) -> None:
    _init(volumes)
    whole = _contents(volumes)
    (volumes / "secrets/api/database-url").unlink()
    (volumes / "secrets/etcd-2/peer.pem").unlink()
    (volumes / "secrets/api/.database-url.draft").write_text("half of")
    assert _init(volumes) == 2
    assert _contents(volumes) == whole


def test_two_stacks_share_no_secret(volumes: Path, tmp_path: Path) -> None:
    _init(volumes)
    other = tmp_path / "other"
    for reader in READERS:
        (other / "secrets" / reader).mkdir(parents=True)
    for member in ETCD_MEMBERS:
        (other / "etcd" / member).mkdir(parents=True)
    _init(other)
    ours, theirs = _contents(volumes), _contents(other)
    assert ours.keys() == theirs.keys()
    public = {"api/stripe-api-base", "replica/stripe-api-base", "authority/processor"}
    assert {name for name in ours if ours[name] == theirs[name]} == public


def test_nobody_but_its_reader_can_read_a_secret(volumes: Path) -> None:
    _init(volumes)
    for name in _contents(volumes):
        mode = (volumes / "secrets" / name).stat().st_mode & 0o777
        certificate_of_authority = (
            name.startswith("authority/") and not name.endswith("-key.pem") and name.endswith(".pem")
        )
        assert mode == (0o444 if name in READ_BY_OTHERS or certificate_of_authority else 0o400), name


def test_each_reader_gets_its_own_role_and_no_authoritys_key(volumes: Path) -> None:
    _init(volumes)
    roles = {
        name: re.sub(r"^postgresql://(\w+):\w{48}@postgres:5432/middleman$", r"\1", content.decode())
        for name, content in _contents(volumes).items()
        if name.endswith("database-url")
    }
    assert roles == {
        "owner/database-url": "postgres",
        "api/database-url": "middleman_api",
        "replica/database-url": "middleman_replica",
        "operator/judge-database-url": "middleman_judge",
    }
    keys = {
        content
        for name, content in _contents(volumes).items()
        if name in ("authority/etcd-clients-key.pem", "authority/etcd-peers-key.pem")
    }
    assert len(keys) == 2
    assert not [
        name for name, content in _contents(volumes).items() if content in keys and "authority" not in name
    ]


def test_a_members_certificates_are_good_for_its_name_and_each_port_has_its_own_authority(
    volumes: Path,
) -> None:
    _init(volumes)
    member, replica = volumes / "secrets/etcd-1", volumes / "secrets/replica"

    def verified(authority: Path, certificate: Path, *more: str) -> bool:
        return _openssl("verify", "-CAfile", str(authority), *more, str(certificate)).returncode == 0

    server = ("-purpose", "sslserver", "-verify_hostname")
    assert verified(replica / "etcd-ca.pem", member / "server.pem", *server, "etcd-1")
    assert not verified(replica / "etcd-ca.pem", member / "server.pem", *server, "etcd-2")
    assert verified(member / "peer-ca.pem", member / "peer.pem", *server, "etcd-1")
    assert verified(member / "client-ca.pem", replica / "etcd-client.pem", "-purpose", "sslclient")
    assert not verified(member / "client-ca.pem", replica / "etcd-client.pem", "-purpose", "sslserver")
    assert not verified(member / "peer-ca.pem", replica / "etcd-client.pem")


def test_a_certificate_that_is_about_to_run_out_is_made_anew(
    volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(volumes, "test")
    monkeypatch.setattr("deploy.init.certificates.CERTIFICATE_DAYS", 59)
    before = authority.issue("replica", ["clientAuth"]).certificate.read_bytes()
    monkeypatch.setattr("deploy.init.certificates.CERTIFICATE_DAYS", 61)
    renewed = authority.issue("replica", ["clientAuth"]).certificate.read_bytes()
    assert renewed != before
    assert authority.issue("replica", ["clientAuth"]).certificate.read_bytes() == renewed


def test_without_a_key_of_stripes_the_sandbox_is_charged_through(volumes: Path) -> None:
    _init(volumes)
    found = _contents(volumes)
    assert found["replica/stripe-api-base"] == found["api/stripe-api-base"] == b"http://sandbox:12111"
    assert found["replica/stripe-api-key"] == found["api/stripe-api-key"] == found["sandbox/api-key"]
    assert found["sandbox/api-key"].startswith(b"sk_test_")


def test_with_a_key_of_stripes_stripe_is_charged_through(volumes: Path) -> None:
    _init(volumes, "sk_test_given")
    found = _contents(volumes)
    assert found["replica/stripe-api-base"] == found["api/stripe-api-base"] == b""
    assert found["replica/stripe-api-key"] == found["api/stripe-api-key"] == b"sk_test_given"
    _init(volumes, "sk_test_rolled")
    assert _contents(volumes)["replica/stripe-api-key"] == b"sk_test_rolled"


WEBHOOK_SECRETS = ("api/stripe-webhook-secret", "sandbox/webhook-secret", "operator/stripe-webhook-secret")


def test_the_sandbox_signs_webhooks_with_what_the_api_and_the_chaos_script_know(volumes: Path) -> None:
    _init(volumes)
    found = _contents(volumes)
    [secret] = {found[name] for name in WEBHOOK_SECRETS}
    assert re.fullmatch(rb"whsec_[0-9a-f]{48}", secret)


def test_a_stack_of_an_older_version_gets_its_webhook_secret_at_the_next_start(volumes: Path) -> None:
    _init(volumes)
    before = _contents(volumes)
    for name in (*WEBHOOK_SECRETS, "authority/stripe-webhook-secret"):
        (volumes / "secrets" / name).unlink()
    assert _init(volumes) == 3
    after = _contents(volumes)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        *WEBHOOK_SECRETS,
        "authority/stripe-webhook-secret",
    }
    assert _init(volumes) == 0


def test_a_given_webhook_secret_is_taken_instead(volumes: Path) -> None:
    _init(volumes, "", "whsec_given, whsec_next")
    found = _contents(volumes)
    assert [found[name] for name in WEBHOOK_SECRETS] == [
        b"whsec_given,whsec_next",
        b"whsec_given",
        b"whsec_given",
    ]


def test_at_stripe_webhooks_are_taken_with_stripes_own_secret_or_not_at_all(volumes: Path) -> None:
    _init(volumes, "sk_test_given")
    assert _contents(volumes)["api/stripe-webhook-secret"] == b""
    _init(volumes, "sk_test_given", "whsec_given")
    found = _contents(volumes)
    assert found["api/stripe-webhook-secret"] == b"whsec_given"
    assert found["sandbox/webhook-secret"] != b"whsec_given", (
        "it is nobody's processor, and signs with its own"
    )


def test_what_is_no_webhook_secret_is_refused_and_not_shown(volumes: Path) -> None:
    with pytest.raises(CannotInit, match="whsec_") as refused:
        _init(volumes, "", "sk_test_hush")
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(("first", "then"), [("", "sk_test_given"), ("sk_test_given", "")])
def test_a_stack_does_not_change_its_processor(volumes: Path, first: str, then: str) -> None:
    _init(volumes, first)
    before = _contents(volumes)
    with pytest.raises(CannotInit, match="docker compose down -v"):
        _init(volumes, then)
    assert _contents(volumes) == before


def test_a_live_key_is_refused_in_one_line_that_does_not_show_it(
    volumes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(volumes / "secrets"))
    monkeypatch.setenv("ETCD_DATA_DIR", str(volumes / "etcd"))
    monkeypatch.setenv("STRIPE_API_KEY", "sk_live_hush")
    assert main() == 2
    said = capsys.readouterr().err
    assert "test mode" in said
    assert said.count("\n") == 1
    assert "hush" not in said


def test_a_volume_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("ETCD_DATA_DIR", str(tmp_path))
    assert main() == 2
    assert "are all volumes mounted" in capsys.readouterr().err


def test_the_image_and_the_compose_file_have_a_place_for_every_reader() -> None:
    compose, image = (ROOT / "docker-compose.yml").read_text(), (ROOT / "Dockerfile").read_text()
    mounted = dict(re.findall(r"- secrets-([a-z0-9-]+):/volumes/secrets/([a-z0-9-]+)\n", compose))
    assert mounted == {reader: reader for reader in READERS}
    made = re.search(r"for reader in ([a-z0-9 -]+); do", image)
    assert made is not None
    assert set(made[1].split()) == set(READERS)
    # Everybody else is given exactly one of them, read-only; `welcome` notes in its own that the key was shown.
    given = re.findall(r"\"?secrets-([a-z0-9-]+):/secrets(:ro)?\"?", compose)
    assert {reader for reader, _ in given} == set(READERS) - {"authority"}
    assert [reader for reader, mode in given if not mode] == ["operator"]
