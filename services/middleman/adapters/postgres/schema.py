"""The tables as SQLAlchemy sees them. The migrations are the truth; a test keeps the two equal."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID
from sqlalchemy.types import UserDefinedType

METADATA = MetaData()


class Xid8(UserDefinedType[str]):
    """A transaction's id of 64 bits, which is never used again. Compared by the database, and not read here."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


_NOW = text("now()")
_CLOCK = text("clock_timestamp()")
_EMPTY = text("'{}'::jsonb")
_AT = DateTime(timezone=True)


def _check(table: str, name: str, rule: str) -> CheckConstraint:
    return CheckConstraint(rule, name=f"{table}_{name}")


def _price_and_interval(table: str) -> tuple[CheckConstraint, ...]:
    return (
        _check(table, "amount_positive", "amount_minor > 0"),
        _check(table, "currency_form", "currency ~ '^[A-Z]{3}$'"),
        _check(table, "interval_unit_known", "interval_unit IN ('day', 'week', 'month', 'year')"),
        _check(table, "interval_count_bounds", "interval_count BETWEEN 1 AND 366"),
    )


customers = Table(
    "customers",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False),
    Column("name", Text),
    Column("processor_customer_id", Text, nullable=False),
    Column("payment_method_id", Text, nullable=False),
    Column("metadata", JSONB, nullable=False, server_default=_EMPTY),
    Column("created_at", _AT, nullable=False, server_default=_NOW),
    Column("updated_at", _AT, nullable=False, server_default=_NOW),
    _check("customers", "id_form", r"id LIKE 'cu\_%'"),
    UniqueConstraint("processor_customer_id", name="customers_processor_customer_id_key"),
    Index("customers_by_creation", "created_at", "id"),
)

plans = Table(
    "plans",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("interval_unit", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("metadata", JSONB, nullable=False, server_default=_EMPTY),
    Column("created_at", _AT, nullable=False, server_default=_NOW),
    _check("plans", "id_form", r"id LIKE 'pl\_%'"),
    *_price_and_interval("plans"),
    Index("plans_by_creation", "created_at", "id"),
)

subscriptions = Table(
    "subscriptions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("customer_id", ForeignKey("customers.id", name="subscriptions_customer_id_fkey"), nullable=False),
    Column("plan_id", ForeignKey("plans.id", name="subscriptions_plan_id_fkey"), nullable=False),
    Column("scope", SmallInteger, nullable=False, server_default=text("0")),
    Column("status", Text, nullable=False, server_default=text("'active'::text")),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("interval_unit", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("anchor_local", TIMESTAMP(timezone=False), nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("next_period_no", Integer, nullable=False, server_default=text("0")),
    Column("next_due_at", _AT, nullable=False),
    Column("ends_at", _AT),
    Column("withheld", Text),
    Column("withheld_at", _AT),
    Column("withheld_reason", Text),
    Column("try_again_at", _AT),
    Column("released_until", _AT),
    Column("ends_before_period", Integer),
    Column("metadata", JSONB, nullable=False, server_default=_EMPTY),
    Column("created_at", _AT, nullable=False, server_default=_NOW),
    Column("updated_at", _AT, nullable=False, server_default=_NOW),
    _check("subscriptions", "id_form", r"id LIKE 'sub\_%'"),
    _check("subscriptions", "status_known", "status IN ('active', 'past_due', 'canceled')"),
    _check("subscriptions", "canceled_has_an_end", "status <> 'canceled' OR ends_at IS NOT NULL"),
    *_price_and_interval("subscriptions"),
    _check("subscriptions", "next_period_no_counts_up", "next_period_no >= 0"),
    _check("subscriptions", "period_end_is_an_end", "ends_before_period IS NULL OR ends_at IS NOT NULL"),
    _check("subscriptions", "withheld_known", "withheld IN ('set_aside', 'held')"),
    _check(
        "subscriptions",
        "withheld_says_why",
        "(withheld IS NULL) = (withheld_at IS NULL) AND (withheld IS NULL) = (withheld_reason IS NULL)",
    ),
    _check(
        "subscriptions",
        "set_aside_is_tried_again",
        "(withheld IS NOT DISTINCT FROM 'set_aside') = (try_again_at IS NOT NULL)",
    ),
    Index(
        "subscriptions_due",
        "scope",
        "next_due_at",
        postgresql_where=text("status = 'active' AND withheld IS NULL"),
    ),
    Index(
        "subscriptions_withheld",
        "scope",
        "withheld",
        "try_again_at",
        postgresql_where=text("withheld IS NOT NULL"),
    ),
    Index(
        "subscriptions_ending",
        "scope",
        "ends_at",
        postgresql_where=text("status <> 'canceled' AND ends_at IS NOT NULL"),
    ),
    Index("subscriptions_by_creation", "created_at", "id"),
    Index("subscriptions_of_customer", "customer_id", "created_at", "id"),
    Index("subscriptions_of_plan", "plan_id", "created_at", "id"),
    Index("subscriptions_past_due", "created_at", "id", postgresql_where=text("status = 'past_due'")),
    Index("subscriptions_with_an_end", "created_at", "id", postgresql_where=text("ends_at IS NOT NULL")),
)

invoices = Table(
    "invoices",
    METADATA,
    Column("id", Text, primary_key=True),
    Column(
        "subscription_id",
        ForeignKey("subscriptions.id", name="invoices_subscription_id_fkey"),
        nullable=False,
    ),
    Column("customer_id", ForeignKey("customers.id", name="invoices_customer_id_fkey"), nullable=False),
    Column("scope", SmallInteger, nullable=False),
    Column("period_no", Integer, nullable=False),
    Column("period_start", _AT, nullable=False),
    Column("period_end", _AT, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("processor_customer_id", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'open'::text")),
    Column("payment_intent_id", Text),
    Column("attempt_count", Integer, nullable=False, server_default=text("1")),
    Column("set_aside_reason", Text),
    Column("create_key_no", Integer, nullable=False, server_default=text("1")),
    Column("next_attempt_at", _AT),
    Column("created_term", BigInteger, nullable=False),
    Column("bound_term", BigInteger),
    Column("created_at", _AT, nullable=False, server_default=_NOW),
    Column("settled_at", _AT),
    UniqueConstraint("subscription_id", "period_no", name="invoices_one_per_period"),
    _check(
        "invoices",
        "id_names_the_period",
        "id = 'in_' || substr(subscription_id, 5) || '_' || period_no::text",
    ),
    UniqueConstraint("payment_intent_id", name="invoices_one_per_payment_intent"),
    _check("invoices", "create_key_no_counts_up", "create_key_no >= 1"),
    _check("invoices", "period_no_counts_up", "period_no >= 0"),
    _check("invoices", "period_not_empty", "period_end > period_start"),
    _check("invoices", "amount_positive", "amount_minor > 0"),
    _check("invoices", "currency_form", "currency ~ '^[A-Z]{3}$'"),
    _check(
        "invoices", "status_known", "status IN ('open', 'paid', 'requires_action', 'uncollectible', 'void')"
    ),
    _check("invoices", "paid_names_its_intent", "status <> 'paid' OR payment_intent_id IS NOT NULL"),
    _check("invoices", "bound_in_a_term", "(payment_intent_id IS NULL) = (bound_term IS NULL)"),
    _check("invoices", "settled_when_not_open", "(status = 'open') = (settled_at IS NULL)"),
    _check("invoices", "retry_only_when_open", "next_attempt_at IS NULL OR status = 'open'"),
    Index(
        "invoices_set_aside",
        "scope",
        "next_attempt_at",
        postgresql_where=text("set_aside_reason IS NOT NULL"),
    ),
    Index(
        "invoices_retry_due",
        "scope",
        "next_attempt_at",
        postgresql_where=text("status = 'open' AND next_attempt_at IS NOT NULL"),
    ),
    Index("invoices_by_creation", "created_at", "id"),
    Index("invoices_of_customer", "customer_id", "created_at", "id"),
    Index("invoices_by_status", "status", "created_at", "id", postgresql_where=text("status <> 'paid'")),
)

payment_attempts = Table(
    "payment_attempts",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("invoice_id", ForeignKey("invoices.id", name="payment_attempts_invoice_id_fkey"), nullable=False),
    Column("scope", SmallInteger, nullable=False),
    Column("attempt_no", Integer, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'open'::text")),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("processor_customer_id", Text, nullable=False),
    Column("payment_method_id", Text, nullable=False),
    Column("charge_id", Text),
    Column("code", Text),
    Column("decline_code", Text),
    Column("advice_code", Text),
    Column("message", Text),
    Column("unknown_reason", Text),
    Column("unknown_at", _AT),
    Column("confirm_key_no", Integer, nullable=False, server_default=text("1")),
    Column("parked_until", _AT),
    Column("parked_count", Integer, nullable=False, server_default=text("0")),
    Column("created_term", BigInteger, nullable=False),
    Column("settled_term", BigInteger),
    Column("created_at", _AT, nullable=False, server_default=_NOW),
    Column("settled_at", _AT),
    UniqueConstraint("invoice_id", "attempt_no", name="payment_attempts_numbered"),
    _check(
        "payment_attempts",
        "id_names_the_try",
        "id = 'at_' || substr(invoice_id, 4) || '_' || attempt_no::text",
    ),
    _check("payment_attempts", "attempt_no_counts_up", "attempt_no >= 1"),
    _check("payment_attempts", "amount_positive", "amount_minor > 0"),
    _check(
        "payment_attempts",
        "status_known",
        "status IN ('open', 'succeeded', 'declined', 'requires_action', 'canceled')",
    ),
    _check("payment_attempts", "settled_when_not_open", "(status = 'open') = (settled_at IS NULL)"),
    _check("payment_attempts", "confirm_key_no_counts_up", "confirm_key_no >= 1"),
    _check("payment_attempts", "parked_only_when_open", "parked_until IS NULL OR status = 'open'"),
    _check("payment_attempts", "settled_in_a_term", "(settled_at IS NULL) = (settled_term IS NULL)"),
    Index("payment_attempts_one_open", "invoice_id", unique=True, postgresql_where=text("status = 'open'")),
    Index(
        "payment_attempts_one_succeeded",
        "invoice_id",
        unique=True,
        postgresql_where=text("status = 'succeeded'"),
    ),
    Index("payment_attempts_open", "scope", "created_at", "id", postgresql_where=text("status = 'open'")),
    Index(
        "payment_attempts_at_work",
        "scope",
        "created_at",
        "id",
        postgresql_where=text("status = 'open' AND parked_until IS NULL"),
    ),
    Index(
        "payment_attempts_parked",
        "scope",
        "parked_until",
        "id",
        postgresql_where=text("parked_until IS NOT NULL"),
    ),
    Index("payment_attempts_by_creation", "created_at", "id"),
    Index(
        "payment_attempts_by_status",
        "status",
        "created_at",
        "id",
        postgresql_where=text("status IN ('declined', 'requires_action', 'canceled')"),
    ),
)

processor_notices = Table(
    "processor_notices",
    METADATA,
    Column("event_id", Text, primary_key=True),
    Column("scope", SmallInteger, nullable=False),
    Column("invoice_id", ForeignKey("invoices.id", name="processor_notices_invoice_id_fkey"), nullable=False),
    Column("payment_intent_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("occurred_at", _AT, nullable=False),
    Column("received_at", _AT, nullable=False, server_default=_CLOCK),
    Column("handled_at", _AT),
    Column("handled_term", BigInteger),
    Column("parked_until", _AT),
    Column("parked_count", Integer, nullable=False, server_default=text("0")),
    _check("processor_notices", "kind_known", "kind IN ('intent.succeeded', 'intent.canceled')"),
    _check("processor_notices", "handled_in_a_term", "(handled_at IS NULL) = (handled_term IS NULL)"),
    Index(
        "processor_notices_unhandled",
        "scope",
        "received_at",
        "event_id",
        postgresql_where=text("handled_at IS NULL AND parked_until IS NULL"),
    ),
    Index(
        "processor_notices_parked",
        "scope",
        "parked_until",
        "event_id",
        postgresql_where=text("handled_at IS NULL AND parked_until IS NOT NULL"),
    ),
    Index("processor_notices_handled", "handled_at", postgresql_where=text("handled_at IS NOT NULL")),
)

payment_method_replacements = Table(
    "payment_method_replacements",
    METADATA,
    Column(
        "customer_id",
        ForeignKey("customers.id", name="payment_method_replacements_customer_id_fkey"),
        nullable=False,
    ),
    Column("scope", SmallInteger, nullable=False, server_default=text("0")),
    Column("payment_method_id", Text, nullable=False),
    Column("filed_at", _AT, nullable=False, server_default=_CLOCK),
    Column("handled_at", _AT),
    Column("handled_term", BigInteger),
    PrimaryKeyConstraint("customer_id", "scope", name="payment_method_replacements_pkey"),
    _check(
        "payment_method_replacements", "handled_in_a_term", "(handled_at IS NULL) = (handled_term IS NULL)"
    ),
    Index(
        "payment_method_replacements_unhandled",
        "scope",
        "filed_at",
        "customer_id",
        postgresql_where=text("handled_at IS NULL"),
    ),
)

ledger_entries = Table(
    "ledger_entries",
    METADATA,
    Column("attempt_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("recorded_at", _AT, nullable=False, server_default=_CLOCK),
    PrimaryKeyConstraint("attempt_id", "account", name="ledger_entries_pkey"),
    _check(
        "ledger_entries",
        "account_and_side",
        "(account = 'processor_balance' AND amount_minor > 0) OR (account = 'revenue' AND amount_minor < 0)",
    ),
    _check("ledger_entries", "currency_form", "currency ~ '^[A-Z]{3}$'"),
)

terms = Table(
    "terms",
    METADATA,
    Column("scope", SmallInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("uid", UUID, nullable=False),
    Column("holder", Text, nullable=False),
    Column("election_revision", BigInteger, nullable=False),
    Column("timeline", BigInteger, nullable=False),
    Column("started_at", _AT, nullable=False, server_default=_CLOCK),
    Column("ended_at", _AT),
    Column("end_reason", Text),
    PrimaryKeyConstraint("scope", "number", name="terms_pkey"),
    UniqueConstraint("uid", name="terms_uid_key"),
)

fence = Table(
    "fence",
    METADATA,
    Column("scope", SmallInteger, primary_key=True, autoincrement=False),
    Column("term", BigInteger, nullable=False),
    Column("uid", UUID, nullable=False),
    Column("holder", Text, nullable=False),
    Column("raised_at", _AT, nullable=False, server_default=_CLOCK),
    Column("timeline", BigInteger, nullable=False),
)

replicas = Table(
    "replicas",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("incarnation", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("ops_url", Text, nullable=False),
    Column("started_at", _AT, nullable=False),
    Column("last_seen_at", _AT, nullable=False, server_default=_CLOCK),
    _check("replicas", "role_known", "role IN ('candidate', 'follower', 'leader', 'stood_down')"),
)

events = Table(
    "events",
    METADATA,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _AT, nullable=False, server_default=_CLOCK),
    Column("kind", Text, nullable=False),
    Column("term", BigInteger),
    Column("subject", Text, nullable=False),
    Column("subscription_id", Text),
    Column("data", JSONB, nullable=False, server_default=_EMPTY),
    Column("xact_id", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    _check("events", "kind_is_noun_verb", r"kind ~ '^[a-z_]+\.[a-z_]+$'"),
    Index("events_in_order", "xact_id", "seq", unique=True),
    Index("events_of_subject", "subject", "xact_id", "seq"),
    Index("events_of_kind", "kind", "xact_id", "seq"),
)

api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_sha256", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", _AT, nullable=False, server_default=_NOW),
    Column("revoked_at", _AT),
    UniqueConstraint("key_sha256", name="api_keys_key_sha256_key"),
    _check("api_keys", "scopes_known", "scopes <@ ARRAY['read', 'write'] AND cardinality(scopes) > 0"),
)

api_idempotency_keys = Table(
    "api_idempotency_keys",
    METADATA,
    Column(
        "api_key_id", ForeignKey("api_keys.id", name="api_idempotency_keys_api_key_id_fkey"), nullable=False
    ),
    Column("key", Text, nullable=False),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("response_status", Integer),
    Column("response_body", LargeBinary),
    Column("locked_until", _AT, nullable=False),
    Column("created_at", _AT, nullable=False, server_default=_NOW),
    Column("completed_at", _AT),
    Column("canonical_sha256", LargeBinary),
    Column("customer_key_no", SmallInteger, nullable=False, server_default=text("1")),
    Column("attach_key_no", SmallInteger, nullable=False, server_default=text("1")),
    PrimaryKeyConstraint("api_key_id", "key", name="api_idempotency_keys_pkey"),
    _check("api_idempotency_keys", "key_length", "length(key) BETWEEN 1 AND 255"),
    _check(
        "api_idempotency_keys",
        "complete",
        "(response_status IS NULL) = (completed_at IS NULL) AND (response_status IS NULL) = (response_body IS NULL)",
    ),
    _check("api_idempotency_keys", "key_nos_count_up", "customer_key_no >= 1 AND attach_key_no >= 1"),
    Index("api_idempotency_keys_by_age", "created_at"),
)

deployment = Table(
    "deployment",
    METADATA,
    Column("id", Boolean, primary_key=True, server_default=text("true")),
    Column("environment", Text, nullable=False, server_default=text("'production'::text")),
    _check("deployment", "one_row", "id"),
    _check("deployment", "environment_known", "environment IN ('production', 'test')"),
)

test_clock = Table(
    "test_clock",
    METADATA,
    Column("id", Boolean, primary_key=True, server_default=text("true")),
    Column(
        "base_real",
        _AT,
        nullable=False,
        server_default=text("'2000-01-01 00:00:00+00'::timestamp with time zone"),
    ),
    Column(
        "base_virtual",
        _AT,
        nullable=False,
        server_default=text("'2000-01-01 00:00:00+00'::timestamp with time zone"),
    ),
    Column("rate", Double, nullable=False, server_default=text("1")),
    _check("test_clock", "one_row", "id"),
    _check("test_clock", "rate_bounds", "rate BETWEEN 0 AND 1000000"),
)
