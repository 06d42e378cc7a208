"""All configuration, from the environment and files it names, checked at start with messages that say what to do."""

import math
import socket
import sys
from typing import Annotated, Any, Literal, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from middleman.addresses import bare_host, host_port, is_everywhere, is_host_port
from middleman.secret_files import SecretFileError, from_file

FAILPOINTS = (
    "before_claim",
    "after_claim",
    "after_create",
    "after_bind",
    "after_confirm_sent",
    "before_settle",
    "in_transaction",
)
UNSAFE_SWITCHES = ("fence_off", "term_in_key", "intent_per_attempt")

Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=0, le=65535)]
_PREFIX = "MIDDLEMAN_"


class _Files(PydanticBaseSettingsSource):
    """`NAME_FILE` for every setting `NAME`; its own kind of error, because pydantic would show the values."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        alias = field.validation_alias
        name = alias if isinstance(alias, str) else f"{_PREFIX}{field_name.upper()}"
        return from_file(name), alias if isinstance(alias, str) else field_name, False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {key: value for value, key, _ in found if value is not None}


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, and the files that it names."""
        return init_settings, _Files(settings_cls), env_settings

    environment: Literal["production", "test"] = "production"
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    database_url: SecretStr

    @field_validator("database_url")
    @classmethod
    def _names_a_postgres_database(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if not url.startswith(("postgresql://", "postgres://")) or "@" not in url:
            raise ValueError("must read postgresql://user:password@host:port/database")
        return value


class MigrateSettings(_Settings):
    """What `migrate` needs: the owner's URL, and names and passwords of this database's roles."""

    db_password_api: SecretStr = Field(min_length=12)
    db_password_replica: SecretStr = Field(min_length=12)
    db_password_judge: SecretStr = Field(min_length=12)
    db_role_prefix: str = ""  # empty: the database's name
    db_retire_roles: str = ""  # the prefix of roles that lose their rights in this database
    migrate_patience_s: Seconds = 300.0  # for locks that other sessions hold
    bootstrap_api_key: SecretStr | None = None

    @field_validator("bootstrap_api_key")
    @classmethod
    def _is_hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (
            len(value.get_secret_value()) < 32 or not value.get_secret_value().startswith("mk_")
        ):
            raise ValueError("must start with mk_ and have at least 32 characters")
        return value


class ProcessorSettings(_Settings):
    """What leads to the payment processor."""

    stripe_api_key: SecretStr = Field(validation_alias="STRIPE_API_KEY")
    stripe_api_base: str = ""  # empty: Stripe itself
    # http://[user:password@]host:port. Empty: HTTPS_PROXY and NO_PROXY of the environment. `none`: no proxy.
    stripe_proxy: SecretStr = SecretStr("")
    processor_timeout_s: Seconds = 10.0

    @field_validator("stripe_api_key")
    @classmethod
    def _is_a_test_key(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if key.startswith(("sk_live_", "rk_live_")):
            raise ValueError(
                "is a live key; this is a demonstration in test mode: use a key that starts with sk_test_"
            )
        if not key.startswith(("sk_test_", "rk_test_")):
            raise ValueError("must be a test key that starts with sk_test_")
        return value

    @field_validator("stripe_api_base")
    @classmethod
    def _is_a_base_url(cls, value: str) -> str:
        if value and not _is_http_url(value):
            raise ValueError(
                "must be empty (Stripe itself) or a URL such as http://127.0.0.1:12111 or http://[::1]:12111"
            )
        return value.rstrip("/")


class ApiSettings(ProcessorSettings):
    """The REST API process."""

    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_pool_size: int = Field(default=10, ge=1, le=100)
    # Several, separated by commas, while one replaces another. None: no webhooks are taken.
    stripe_webhook_secret: SecretStr | None = Field(default=None, validation_alias="STRIPE_WEBHOOK_SECRET")

    @field_validator("api_host")
    @classmethod
    def _is_without_brackets(cls, value: str) -> str:
        return bare_host(value)

    @field_validator("stripe_webhook_secret")
    @classmethod
    def _are_endpoint_secrets(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in _split(value):
            if not secret.startswith("whsec_"):
                raise ValueError(
                    "must be an endpoint's secret, which starts with whsec_ (several: separated by commas), as `stripe "
                    "listen` or the endpoint's page at Stripe shows it"
                )
        return value

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """Each may sign what `POST /webhooks/stripe` takes; none: it takes nothing."""
        return _split(self.stripe_webhook_secret)


class ReplicaSettings(ProcessorSettings):
    """One replica of the middleman."""

    # Empty: the host's name, which in a container is the container's.
    replica_name: str = Field(default="", pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", validate_default=True)
    ops_host: str = "127.0.0.1"
    ops_port: Port = 9000
    # host:port at which the other replicas feel the pulse. Empty: where it listens, by the host's name if everywhere.
    ops_advertise: str = Field(default="", validate_default=True)
    pulse: Literal["on", "off"] = "on"
    ops_token: SecretStr | None = Field(
        default=None, min_length=16
    )  # None: nobody may ask the leader to resign
    scope: int = Field(default=0, ge=0, le=32767)

    etcd_endpoints: Annotated[tuple[str, ...], NoDecode] = Field(min_length=1)
    etcd_user: str = ""
    etcd_password: SecretStr = SecretStr("")
    etcd_ca_file: str = ""
    etcd_cert_file: str = ""
    etcd_key_file: str = ""
    lease_ttl_s: int = Field(default=3, ge=3, le=60)  # below that there is no time for a renewal that fails
    trust_margin_s: float = Field(default=0.25, gt=0)
    drain_s: Seconds = 10.0

    concurrency: int = Field(default=64, ge=1, le=1000)  # calls to the processor at once
    in_flight_limit: int = Field(default=2000, ge=8, le=100_000)  # attempts between claim and settle
    claim_batch: int = Field(default=500, ge=2, le=5000)
    max_overdue_periods: int = Field(default=3, ge=1, le=100_000)  # of one subscription, caught up unasked
    idle_poll_s: float = Field(default=0.2, gt=0, le=60)
    flush_linger_s: float = Field(default=0.02, ge=0, le=5)
    # Claims wait while the clocks of database, replica and processor differ by more.
    clock_tolerance_s: float = Field(default=300.0, ge=60, le=3600)
    rate_limit_per_s: float = Field(default=0, ge=0)  # per endpoint; 0: no limit of ours
    account_rate_limit_per_s: float = Field(default=0, ge=0)  # all endpoints together; 0: no limit of ours
    replica_pool_size: int = Field(default=6, ge=4, le=50)

    failpoints: Annotated[tuple[str, ...], NoDecode] = ()
    unsafe: Annotated[tuple[str, ...], NoDecode] = ()

    @field_validator("etcd_endpoints", "failpoints", "unsafe", mode="before")
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("etcd_endpoints")
    @classmethod
    def _are_host_and_port(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in value:
            if not is_host_port(endpoint):
                raise ValueError(
                    f"{endpoint!r} must read host:port, several separated by commas; an IPv6 address in brackets"
                )
        return value

    @field_validator("replica_name", mode="before")
    @classmethod
    def _is_the_hosts_unless_given(cls, value: object) -> object:
        return value if value != "" else _host_name()

    @field_validator("ops_advertise")
    @classmethod
    def _is_host_and_port(cls, value: str, given: ValidationInfo) -> str:
        host, port = given.data.get("ops_host"), given.data.get("ops_port")
        if not value and host is not None and port is not None:
            value = host_port("{hostname}" if is_everywhere(host) else host, port)
        value = value.replace("{hostname}", _host_name())
        if value and not is_host_port(value):
            raise ValueError(
                "must be empty or read host:port, where {hostname} stands for the host's name and an IPv6 address "
                "has brackets, as in [2001:db8::1]:9000"
            )
        return value

    @field_validator("ops_host")
    @classmethod
    def _is_without_brackets(cls, value: str) -> str:
        return bare_host(value)

    @field_validator("failpoints")
    @classmethod
    def _are_known_failpoints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for spec in value:
            name, _, action = spec.partition("=")
            if name not in FAILPOINTS or action.partition("@")[0] not in ("kill", "stop"):
                raise ValueError(
                    f"{spec!r} must read NAME=kill or NAME=stop, with @N for the N-th hit; names: {', '.join(FAILPOINTS)}"
                )
        return value

    @field_validator("unsafe")
    @classmethod
    def _are_known_switches(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for switch in value:
            if switch not in UNSAFE_SWITCHES:
                raise ValueError(f"{switch!r} is none of {', '.join(UNSAFE_SWITCHES)}")
        return value

    @model_validator(mode="after")
    def _breaks_nothing_in_production(self) -> Self:
        if self.environment == "production" and (self.failpoints or self.unsafe):
            raise ValueError(
                "MIDDLEMAN_FAILPOINTS and MIDDLEMAN_UNSAFE exist for tests: unset them, or set MIDDLEMAN_ENVIRONMENT=test"
            )
        if not math.isfinite(self.rate_limit_per_s):
            raise ValueError("MIDDLEMAN_RATE_LIMIT_PER_S must be finite; 0 means no limit")
        if self.clock_tolerance_s < 5 * self.processor_timeout_s:
            raise ValueError(
                "MIDDLEMAN_CLOCK_TOLERANCE_S must be at least five times MIDDLEMAN_PROCESSOR_TIMEOUT_S: so exactly the "
                "processor's clock is known"
            )
        if not math.isfinite(self.account_rate_limit_per_s):
            raise ValueError("MIDDLEMAN_ACCOUNT_RATE_LIMIT_PER_S must be finite; 0 means no limit")
        return self


SettingsT = TypeVar("SettingsT", bound=_Settings)


def load(kind: type[SettingsT]) -> SettingsT:
    """Read the environment; on a mistake print one line per setting and exit with status 2."""
    try:
        return kind()
    except SecretFileError as error:
        refuse(str(error))
    except ValidationError as error:
        refuse(_explain(kind, error))


def refuse(message: str) -> NoReturn:
    """Say in one line what is misconfigured, and exit with status 2."""
    print(f"middleman: {message}", file=sys.stderr)
    raise SystemExit(2)


def _split(secrets: SecretStr | None) -> tuple[str, ...]:
    given = "" if secrets is None else secrets.get_secret_value()
    return tuple(part.strip() for part in given.split(",") if part.strip())


def _is_http_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # brackets that do not match, a port that is no number
        return False


def _host_name() -> str:
    return socket.gethostname().partition(".")[0].lower()


def _explain(kind: type[_Settings], error: ValidationError) -> str:
    """`SETTING=value: what is wrong`, several joined by semicolons; secrets stay out."""
    lines = []
    for problem in error.errors(include_url=False):
        if not problem["loc"]:
            lines.append(problem["msg"].removeprefix("Value error, "))
            continue
        field = str(problem["loc"][0])
        name = field if field.isupper() else f"{_PREFIX}{field.upper()}"
        if problem["type"] == "missing":
            lines.append(f"{name} is not set")
            continue
        info = kind.model_fields.get(field)
        secret = info is None or "Secret" in repr(info.annotation)
        shown = "" if secret else f"={problem['input']!r}"
        lines.append(f"{name}{shown} {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)
