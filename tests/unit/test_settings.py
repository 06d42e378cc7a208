"""A wrong setting is one line that names it and says what to do, with exit status 2 (DESIGN §11)."""

import socket
from pathlib import Path

import pytest

from middleman.settings import ApiSettings, MigrateSettings, ReplicaSettings, load

REPLICA = {
    "MIDDLEMAN_DATABASE_URL": "postgresql://middleman_replica:hush-hush@127.0.0.1:5432/middleman",
    "MIDDLEMAN_ETCD_ENDPOINTS": "127.0.0.1:2379, 127.0.0.1:2380",
    "MIDDLEMAN_REPLICA_NAME": "replica-1",
    "STRIPE_API_KEY": "sk_test_secretsecret",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with the least that a replica needs."""
    for name, value in REPLICA.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_least_environment_loads_with_the_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load(ReplicaSettings)
    assert settings.etcd_endpoints == ("127.0.0.1:2379", "127.0.0.1:2380")
    assert settings.environment == "production"
    assert settings.lease_ttl_s == 3
    assert settings.failpoints == settings.unsafe == ()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("MIDDLEMAN_REPLICA_NAME", "Replica One", "MIDDLEMAN_REPLICA_NAME='Replica One'"),
        ("MIDDLEMAN_ETCD_ENDPOINTS", "http://127.0.0.1:2379", "host:port"),
        ("MIDDLEMAN_ETCD_ENDPOINTS", "", "MIDDLEMAN_ETCD_ENDPOINTS"),
        ("MIDDLEMAN_ETCD_ENDPOINTS", "::1:2379", "an IPv6 address in brackets"),
        ("MIDDLEMAN_LEASE_TTL_S", "soon", "MIDDLEMAN_LEASE_TTL_S='soon'"),
        ("MIDDLEMAN_LEASE_TTL_S", "2", "greater than or equal to 3"),
        ("MIDDLEMAN_OPS_PORT", "70000", "MIDDLEMAN_OPS_PORT='70000'"),
        ("MIDDLEMAN_CONCURRENCY", "0", "MIDDLEMAN_CONCURRENCY"),
        ("MIDDLEMAN_IN_FLIGHT_LIMIT", "7", "greater than or equal to 8"),
        ("MIDDLEMAN_CLAIM_BATCH", "1", "greater than or equal to 2"),
        ("MIDDLEMAN_RATE_LIMIT_PER_S", "inf", "MIDDLEMAN_RATE_LIMIT_PER_S must be finite"),
        ("MIDDLEMAN_ACCOUNT_RATE_LIMIT_PER_S", "inf", "MIDDLEMAN_ACCOUNT_RATE_LIMIT_PER_S must be finite"),
        ("MIDDLEMAN_DATABASE_URL", "mysql://a:b@c/d", "MIDDLEMAN_DATABASE_URL must read postgresql://"),
        ("STRIPE_API_KEY", "sk_live_abc", "STRIPE_API_KEY is a live key"),
        ("STRIPE_API_KEY", "rk_live_abc", "STRIPE_API_KEY is a live key"),
        ("STRIPE_API_KEY", "hello", "must be a test key"),
        ("MIDDLEMAN_STRIPE_API_BASE", "127.0.0.1:12111", "must be empty (Stripe itself) or a URL"),
        ("MIDDLEMAN_STRIPE_API_BASE", "http://::1:12111", "http://[::1]:12111"),
        ("MIDDLEMAN_STRIPE_API_BASE", "http://[::1:12111", "http://[::1]:12111"),
        ("MIDDLEMAN_FAILPOINTS", "after_lunch=kill", "after_claim"),
        ("MIDDLEMAN_FAILPOINTS", "after_claim=sleep", "NAME=kill or NAME=stop"),
        ("MIDDLEMAN_UNSAFE", "all", "fence_off"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, complaint: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(ReplicaSettings)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert complaint in said
    assert said.count("\n") == 1
    assert "hush-hush" not in said
    assert "secretsecret" not in said


@pytest.mark.parametrize("name", sorted(set(REPLICA) - {"MIDDLEMAN_REPLICA_NAME"}))
def test_a_missing_setting_is_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    environment.delenv(name)
    with pytest.raises(SystemExit):
        load(ReplicaSettings)
    assert f"{name} is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"), [("MIDDLEMAN_FAILPOINTS", "after_claim=kill"), ("MIDDLEMAN_UNSAFE", "fence_off")]
)
def test_failpoints_and_unsafe_switches_exist_in_the_test_environment_only(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(ReplicaSettings)
    assert ended.value.code == 2
    assert "MIDDLEMAN_ENVIRONMENT=test" in capsys.readouterr().err
    environment.setenv("MIDDLEMAN_ENVIRONMENT", "test")
    assert value in (*load(ReplicaSettings).failpoints, *load(ReplicaSettings).unsafe)


def test_a_live_key_is_refused_by_the_api_too(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("STRIPE_API_KEY", "sk_live_abc")
    with pytest.raises(SystemExit):
        load(ApiSettings)
    assert "live key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ("whsec_one", ("whsec_one",)),
        ("whsec_old, whsec_new,", ("whsec_old", "whsec_new")),
        ("", ()),
        (" , ", ()),
    ],
)
def test_several_webhook_secrets_may_be_in_force(
    environment: pytest.MonkeyPatch, given: str, secrets: tuple[str, ...]
) -> None:
    assert load(ApiSettings).webhook_secrets == ()
    environment.setenv("STRIPE_WEBHOOK_SECRET", given)
    assert load(ApiSettings).webhook_secrets == secrets


@pytest.mark.parametrize("given", ["sk_test_hush", "whsec_fine,we_hush"])
def test_what_is_no_webhook_secret_is_refused_in_one_line_that_does_not_show_it(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    environment.setenv("STRIPE_WEBHOOK_SECRET", given)
    with pytest.raises(SystemExit) as exited:
        load(ApiSettings)
    said = capsys.readouterr().err
    assert exited.value.code == 2
    assert "STRIPE_WEBHOOK_SECRET must be" in said
    assert said.count("\n") == 1
    assert "hush" not in said


def test_short_passwords_and_guessable_api_keys_are_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for role in ("API", "REPLICA", "JUDGE"):
        environment.setenv(f"MIDDLEMAN_DB_PASSWORD_{role}", "long-enough-password")
    environment.setenv("MIDDLEMAN_DB_PASSWORD_JUDGE", "short")
    environment.setenv("MIDDLEMAN_BOOTSTRAP_API_KEY", "mk_test_short")
    with pytest.raises(SystemExit):
        load(MigrateSettings)
    said = capsys.readouterr().err
    assert "MIDDLEMAN_DB_PASSWORD_JUDGE" in said
    assert "MIDDLEMAN_BOOTSTRAP_API_KEY must start with mk_" in said
    assert "long-enough" not in said


def test_every_setting_may_come_from_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number, (name, value) in enumerate(REPLICA.items()):
        file = tmp_path / str(number)
        file.write_text(f"{value}\n")
        environment.delenv(name)
        environment.setenv(f"{name}_FILE", str(file))
    settings = load(ReplicaSettings)
    assert settings.database_url.get_secret_value() == REPLICA["MIDDLEMAN_DATABASE_URL"]
    assert settings.stripe_api_key.get_secret_value() == REPLICA["STRIPE_API_KEY"]
    assert settings.etcd_endpoints == ("127.0.0.1:2379", "127.0.0.1:2380")
    assert settings.replica_name == "replica-1"


def test_what_a_file_holds_is_checked_like_the_rest(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("sk_live_secretsecret")
    environment.delenv("STRIPE_API_KEY")
    environment.setenv("STRIPE_API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(SystemExit):
        load(ReplicaSettings)
    said = capsys.readouterr().err
    assert "STRIPE_API_KEY is a live key" in said
    assert "secretsecret" not in said


@pytest.mark.parametrize(
    ("unset", "file", "complaint"),
    [
        (False, "there", "STRIPE_API_KEY and STRIPE_API_KEY_FILE are both set"),
        (True, "gone", "gone cannot be read: No such file"),
        (True, "binary", "binary is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_status_2(
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    unset: bool,
    file: str,
    complaint: str,
) -> None:
    (tmp_path / "there").write_text("sk_test_other")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    if unset:
        environment.delenv("STRIPE_API_KEY")
    environment.setenv("STRIPE_API_KEY_FILE", str(tmp_path / file))
    with pytest.raises(SystemExit) as ended:
        load(ReplicaSettings)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert complaint in said
    assert said.count("\n") == 1


def test_a_replica_without_a_name_takes_that_of_its_host(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(socket, "gethostname", lambda: "C0FFEE.example.com")
    environment.delenv("MIDDLEMAN_REPLICA_NAME")
    assert load(ReplicaSettings).replica_name == "c0ffee"


@pytest.mark.parametrize(
    ("host", "advertise", "address"),
    [
        ("127.0.0.1", "", "127.0.0.1:9000"),
        ("::1", "", "[::1]:9000"),
        ("[::1]", "", "[::1]:9000"),
        ("::", "", "c0ffee:9000"),
        ("0:0:0:0:0:0:0:0", "", "c0ffee:9000"),
        ("::", "[2001:db8::1]:7000", "[2001:db8::1]:7000"),
        ("0.0.0.0", "", "c0ffee:9000"),
        ("0.0.0.0", "{hostname}.inner:7000", "c0ffee.inner:7000"),
        ("0.0.0.0", "10.0.0.1:7000", "10.0.0.1:7000"),
    ],
)
def test_a_replica_is_felt_where_it_listens_and_under_its_hosts_name_if_everywhere(
    environment: pytest.MonkeyPatch, host: str, advertise: str, address: str
) -> None:
    environment.setattr(socket, "gethostname", lambda: "c0ffee")
    environment.setenv("MIDDLEMAN_OPS_HOST", host)
    environment.setenv("MIDDLEMAN_OPS_ADVERTISE", advertise)
    assert load(ReplicaSettings).ops_advertise == address


@pytest.mark.parametrize(
    "address",
    ["host", "http://host:9000", "host:port", "{name}:9000", "::1:9000", "[::1]", "[:::1]:9000", "h:99999"],
)
def test_an_address_that_cannot_be_felt_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    environment.setenv("MIDDLEMAN_OPS_ADVERTISE", address)
    with pytest.raises(SystemExit):
        load(ReplicaSettings)
    assert "host:port, where {hostname} stands for" in capsys.readouterr().err
