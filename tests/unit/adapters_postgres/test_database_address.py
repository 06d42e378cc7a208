"""A database URL means what it means to libpq, or is refused with a reason that does not show its password."""

import asyncio
import ssl
from pathlib import Path

import asyncpg
import pytest

from middleman.adapters.postgres.address import BadDatabaseUrl, TakesNoWrites, address

LIBPQ_VARIABLES = ("PGHOST", "PGPORT", "PGSSLMODE", "PGSSLROOTCERT", "PGTARGETSESSIONATTRS", "PGSSLCERT")


@pytest.fixture(autouse=True)
def no_libpq_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in LIBPQ_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@db/m", (("db", 5432),)),
        ("postgres://u:p@db:6000/m", (("db", 6000),)),
        ("postgresql+asyncpg://u:p@db/m", (("db", 5432),)),
        ("postgresql://u:p@[::1]/m", (("::1", 5432),)),
        ("postgresql://u:p@[2001:db8::7]:6000/m", (("2001:db8::7", 6000),)),
        ("postgresql://u:p@a:1,b,[::1]:3/m", (("a", 1), ("b", 5432), ("::1", 3))),
        ("postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/m", (("/var/run/postgresql", 5432),)),
        ("postgresql://u:p@/m?host=/tmp&port=6000", (("/tmp", 6000),)),
        ("postgresql://u:p@/m?host=a,b&port=1,2", (("a", 1), ("b", 2))),
    ],
)
def test_hosts_are_read_in_every_form_of_libpq(url: str, hosts: tuple[tuple[str, int], ...]) -> None:
    assert address(url).hosts == hosts


@pytest.mark.parametrize(
    ("encoded", "password"),
    [
        ("p%40ss%3Aw%2Frd%3F%23%25", "p@ss:w/rd?#%"),
        ("with:colon", "with:colon"),
        ("with/slash?and#hash", "with/slash?and#hash"),
        ("50%off", "50%off"),
        ("+plus+", "+plus+"),
        ("%E2%82%AC", "€"),
    ],
)
def test_a_password_keeps_its_special_characters(encoded: str, password: str) -> None:
    found = address(f"postgresql://u:{encoded}@db/m?sslmode=disable")
    assert (found.arguments["password"], found.user, found.database) == (password, "u", "m")
    assert password not in repr(found)


def test_user_and_database_may_be_encoded_or_be_parameters() -> None:
    assert address("postgresql://a%40b:p@db/m%2Fn").user == "a@b"
    assert address("postgresql://a%40b:p@db/m%2Fn").database == "m/n"
    found = address("postgresql://db?user=u&password=p&dbname=m")
    assert (found.user, found.database, found.arguments["password"]) == ("u", "m", "p")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://u:hunter2@db/m", "scheme 'mysql' is not PostgreSQL"),
        ("hunter2", "not a database URL"),
        ("postgresql://u:hunter2@db", "user or database name is missing"),
        ("postgresql://db/m", "user or database name is missing"),
        ("postgresql://u:hunter2@/m", "a host is missing"),
        ("postgresql://u:hunter2@db:port/m", "host or port cannot be read"),
        ("postgresql://u:hunter2@db:70000/m", "its port is none"),
        ("postgresql://u:hunter2@::1/m", "IPv6 address in brackets"),
        ("postgresql://u:hunter2@x@db/m", "Percent-encode"),
        ("postgresql://u:hunter2@db/m?sslmod=require", "parameter 'sslmod' is unknown"),
        ("postgresql://u:hunter2@db/m?sslmode=on", "sslmode=on is none of disable, allow"),
        ("postgresql://u:hunter2@db/m?sslmode", "has no value"),
        ("postgresql://u:hunter2@db/m?target_session_attrs=leader", "target_session_attrs=leader is none of"),
        (
            "postgresql://u:hunter2@db/m?target_session_attrs=standby",
            "target_session_attrs=standby is none of",
        ),
        ("postgresql://u:hunter2@db/m?channel_binding=require", "channel_binding=require is not supported"),
        ("postgresql://u:hunter2@db/m?gssencmode=require", "gssencmode=require is not supported"),
        ("postgresql://u:hunter2@db/m?client_encoding=latin1", "client_encoding=latin1 is not supported"),
        ("postgresql://u:hunter2@db/m?service=prod", "'service' is unknown or not supported"),
        ("postgresql://u:hunter2@db/m?connect_timeout=soon", "connect_timeout is not a number"),
        ("postgresql://u:hunter2@db/m?sslmode=verify-full", "add sslrootcert="),
        ("postgresql://u:hunter2@db/m?sslmode=verify-ca&sslrootcert=/no/such.pem", "No such file"),
        ("postgresql://u:hunter2@db/m?sslmode=require&sslcert=/no/such.pem", "sslcert=/no/such.pem"),
        ("postgresql://u:hunter2@db/m?sslrootcert=system&sslmode=require", "needs sslmode=verify-full"),
        ("postgresql://u:hunter2@db/m?sslnegotiation=direct", "needs sslmode=require"),
        ("postgresql://u:hunter2@db/m?ssl=yes", "write sslmode="),
        ("postgresql://u:hunter2@db/m?sslmode=require&ssl_min_protocol_version=SSLv3", "is none of TLSv1"),
        ("postgresql://u:hunter2@db/m?host=a,b&port=1,2,3", "one port, or one for each host"),
    ],
)
def test_what_cannot_be_done_is_refused_without_the_password(url: str, reason: str) -> None:
    if "host=a,b" in url:
        url = url.replace("@db/", "@/")
    with pytest.raises(BadDatabaseUrl) as refused:
        address(url)
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate")
    with pytest.raises(BadDatabaseUrl, match="is not what it should be"):
        address(f"postgresql://u:p@db/m?sslmode=verify-ca&sslrootcert={file}")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("", "prefer"),
        ("?sslmode=disable", "disable"),
        ("?sslmode=allow", "allow"),
        ("?gssencmode=prefer&channel_binding=prefer&connect_timeout=10&sslsni=1", "prefer"),
    ],
)
def test_weak_modes_are_left_to_the_driver(parameters: str, expected: str) -> None:
    assert address(f"postgresql://u:p@db/m{parameters}").arguments["ssl"] == expected


@pytest.mark.parametrize("parameters", ["sslmode=require", "ssl=true"])
def test_require_encrypts_without_asking_with_whom(parameters: str) -> None:
    context = address(f"postgresql://u:p@db/m?{parameters}").arguments["ssl"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_the_systems_authorities_verify_the_host() -> None:
    context = address("postgresql://u:p@db/m?sslrootcert=system").arguments["ssl"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_libpqs_variables_stand_in_for_parameters_that_the_url_does_not_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PGPORT", "6000")
    assert address("postgresql://u:p@db/m").arguments["ssl"] == "disable"
    assert address("postgresql://u:p@db/m").hosts == (("db", 6000),)
    assert address("postgresql://u:p@db:1/m?sslmode=allow").arguments["ssl"] == "allow"
    assert address("postgresql://u:p@db:1/m?sslmode=allow").hosts == (("db", 1),)


class Driver:
    """Stands in for asyncpg.connect: answers by host, and records what it was asked."""

    def __init__(self, answers: dict[str, BaseException | str]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, float, str]] = []
        self.settings: dict[str, str] = {}

    async def __call__(self, **arguments: object) -> object:
        host = str(arguments["host"])
        self.asked.append((host, float(str(arguments["timeout"])), str(arguments["target_session_attrs"])))
        self.settings = dict(arguments["server_settings"])  # type: ignore[call-overload]  # a mapping, by the code
        answer = self.answers[host]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def connected(url: str, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(asyncpg, "connect", driver)
    return asyncio.run(
        address(url).connect(
            timeout_s=3.0, server_settings={"application_name": "ours"}, monotonic=lambda: 100.0
        )
    )


def test_a_host_that_does_not_answer_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver({"a": TimeoutError(), "b": OSError("refused"), "c": "session"})
    assert connected("postgresql://u:p@a,b,c/m", driver, monkeypatch) == "session"
    assert [(host, round(share_s, 2)) for host, share_s, _ in driver.asked] == [
        ("a", 1.0),
        ("b", 1.5),
        ("c", 3.0),
    ]


def test_a_refused_login_is_not_tried_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver({"a": asyncpg.InvalidPasswordError("no"), "b": "session"})
    with pytest.raises(asyncpg.InvalidPasswordError):
        connected("postgresql://u:p@a,b/m", driver, monkeypatch)
    assert len(driver.asked) == 1


def test_a_host_that_takes_no_writes_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver({"a": asyncpg.TargetServerAttributeNotMatched("standby"), "b": "session"})
    assert connected("postgresql://u:p@a,b/m", driver, monkeypatch) == "session"
    assert [attributes for _, _, attributes in driver.asked] == ["read-write", "read-write"]


def test_an_address_without_a_server_that_takes_writes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver({"a": asyncpg.TargetServerAttributeNotMatched("standby")})
    with pytest.raises(TakesNoWrites, match="a:5432 takes no writes"):
        connected("postgresql://u:p@a/m?target_session_attrs=any", driver, monkeypatch)


def test_the_sessions_name_is_ours_and_options_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver({"a": "session"})
    connected("postgresql://u:p@a/m?application_name=theirs&options=-c%20geqo%3Doff", driver, monkeypatch)
    assert driver.settings == {"application_name": "ours", "options": "-c geqo=off"}
