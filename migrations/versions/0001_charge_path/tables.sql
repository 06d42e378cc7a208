-- Who is billed ---------------------------------------------------------------------------------

CREATE TABLE customers (
    id                     text PRIMARY KEY,
    email                  text NOT NULL,
    name                   text,
    processor_customer_id  text NOT NULL,
    payment_method_id      text NOT NULL,       -- what the next attempt is charged to
    metadata               jsonb NOT NULL DEFAULT '{}',
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT customers_id_form CHECK (id LIKE 'cu\_%'),
    CONSTRAINT customers_processor_customer_id_key UNIQUE (processor_customer_id)
);

CREATE TABLE plans (
    id              text PRIMARY KEY,
    name            text NOT NULL,
    amount_minor    bigint NOT NULL,
    currency        text NOT NULL,
    interval_unit   text NOT NULL,
    interval_count  integer NOT NULL,
    active          boolean NOT NULL DEFAULT true,
    metadata        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT plans_id_form CHECK (id LIKE 'pl\_%'),
    CONSTRAINT plans_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT plans_currency_form CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT plans_interval_unit_known CHECK (interval_unit IN ('day', 'week', 'month', 'year')),
    CONSTRAINT plans_interval_count_bounds CHECK (interval_count BETWEEN 1 AND 366)
);

-- The price and the interval are copied from the plan, so that a plan's later life changes no debt.
CREATE TABLE subscriptions (
    id              text PRIMARY KEY,
    customer_id     text NOT NULL CONSTRAINT subscriptions_customer_id_fkey REFERENCES customers (id),
    plan_id         text NOT NULL CONSTRAINT subscriptions_plan_id_fkey REFERENCES plans (id),
    scope           smallint NOT NULL DEFAULT 0,
    status          text NOT NULL DEFAULT 'active',
    amount_minor    bigint NOT NULL,
    currency        text NOT NULL,
    interval_unit   text NOT NULL,
    interval_count  integer NOT NULL,
    anchor_local    timestamp NOT NULL,         -- wall clock in time_zone: boundary 0
    time_zone       text NOT NULL,
    next_period_no  integer NOT NULL DEFAULT 0, -- the first period not yet claimed
    next_due_at     timestamptz NOT NULL,       -- its start
    ends_at         timestamptz,                -- periods that start at or after it are never claimed
    metadata        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscriptions_id_form CHECK (id LIKE 'sub\_%'),
    CONSTRAINT subscriptions_status_known CHECK (status IN ('active', 'past_due', 'canceled')),
    CONSTRAINT subscriptions_canceled_has_an_end CHECK (status <> 'canceled' OR ends_at IS NOT NULL),
    CONSTRAINT subscriptions_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT subscriptions_currency_form CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT subscriptions_interval_unit_known CHECK (interval_unit IN ('day', 'week', 'month', 'year')),
    CONSTRAINT subscriptions_interval_count_bounds CHECK (interval_count BETWEEN 1 AND 366),
    CONSTRAINT subscriptions_next_period_no_counts_up CHECK (next_period_no >= 0)
);
-- The leader's due scan: one index range, however many subscriptions there are.
CREATE INDEX subscriptions_due ON subscriptions (scope, next_due_at) WHERE status <> 'canceled';
CREATE INDEX subscriptions_ending ON subscriptions (scope, ends_at) WHERE status <> 'canceled' AND ends_at IS NOT NULL;
CREATE INDEX subscriptions_of_customer ON subscriptions (customer_id, id);
CREATE INDEX subscriptions_of_plan ON subscriptions (plan_id, id);

-- What is owed and what was tried: the money tables ----------------------------------------------

CREATE TABLE invoices (
    id                     text PRIMARY KEY,
    subscription_id        text NOT NULL CONSTRAINT invoices_subscription_id_fkey REFERENCES subscriptions (id),
    customer_id            text NOT NULL CONSTRAINT invoices_customer_id_fkey REFERENCES customers (id),
    scope                  smallint NOT NULL,
    period_no              integer NOT NULL,
    period_start           timestamptz NOT NULL,
    period_end             timestamptz NOT NULL,
    amount_minor           bigint NOT NULL,
    currency               text NOT NULL,
    processor_customer_id  text NOT NULL,       -- frozen: the create request is the same for ever
    status                 text NOT NULL DEFAULT 'open',
    payment_intent_id      text,                -- one per invoice, for ever
    attempt_count          integer NOT NULL DEFAULT 1,
    next_attempt_at        timestamptz,         -- dunning: when the next attempt falls due
    created_term           bigint NOT NULL,
    bound_term             bigint,
    created_at             timestamptz NOT NULL DEFAULT now(),
    settled_at             timestamptz,
    -- The invariant of the whole system: one debt per subscription and period.
    CONSTRAINT invoices_one_per_period UNIQUE (subscription_id, period_no),
    -- The same debt has the same name for ever, and with it the same idempotency key.
    CONSTRAINT invoices_id_names_the_period CHECK (id = 'in_' || substr(subscription_id, 5) || '_' || period_no::text),
    CONSTRAINT invoices_one_per_payment_intent UNIQUE (payment_intent_id),
    CONSTRAINT invoices_period_no_counts_up CHECK (period_no >= 0),
    CONSTRAINT invoices_period_not_empty CHECK (period_end > period_start),
    CONSTRAINT invoices_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT invoices_currency_form CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT invoices_status_known CHECK (status IN ('open', 'paid', 'requires_action', 'uncollectible', 'void')),
    CONSTRAINT invoices_paid_names_its_intent CHECK (status <> 'paid' OR payment_intent_id IS NOT NULL),
    CONSTRAINT invoices_bound_in_a_term CHECK ((payment_intent_id IS NULL) = (bound_term IS NULL)),
    CONSTRAINT invoices_settled_when_not_open CHECK ((status = 'open') = (settled_at IS NULL)),
    CONSTRAINT invoices_retry_only_when_open CHECK (next_attempt_at IS NULL OR status = 'open')
);
CREATE INDEX invoices_retry_due ON invoices (scope, next_attempt_at) WHERE status = 'open' AND next_attempt_at IS NOT NULL;
CREATE INDEX invoices_by_creation ON invoices (created_at, id);
CREATE INDEX invoices_of_customer ON invoices (customer_id, created_at, id);

CREATE TABLE payment_attempts (
    id                     text PRIMARY KEY,
    invoice_id             text NOT NULL CONSTRAINT payment_attempts_invoice_id_fkey REFERENCES invoices (id),
    scope                  smallint NOT NULL,
    attempt_no             integer NOT NULL,
    status                 text NOT NULL DEFAULT 'open',
    -- The frozen request: what a repeat sends again, to the letter.
    amount_minor           bigint NOT NULL,
    currency               text NOT NULL,
    processor_customer_id  text NOT NULL,
    payment_method_id      text NOT NULL,
    charge_id              text,
    code                   text,
    decline_code           text,
    advice_code            text,
    message                text,
    unknown_reason         text,                -- why the outcome was unknown, while or before it was resolved
    unknown_at             timestamptz,
    created_term           bigint NOT NULL,
    settled_term           bigint,
    created_at             timestamptz NOT NULL DEFAULT now(),
    settled_at             timestamptz,
    CONSTRAINT payment_attempts_numbered UNIQUE (invoice_id, attempt_no),
    CONSTRAINT payment_attempts_id_names_the_try CHECK (id = 'at_' || substr(invoice_id, 4) || '_' || attempt_no::text),
    CONSTRAINT payment_attempts_attempt_no_counts_up CHECK (attempt_no >= 1),
    CONSTRAINT payment_attempts_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT payment_attempts_status_known CHECK (status IN ('open', 'succeeded', 'declined', 'requires_action', 'canceled')),
    CONSTRAINT payment_attempts_settled_when_not_open CHECK ((status = 'open') = (settled_at IS NULL)),
    CONSTRAINT payment_attempts_settled_in_a_term CHECK ((settled_at IS NULL) = (settled_term IS NULL))
);
-- A new attempt exists only after the last one was settled.
CREATE UNIQUE INDEX payment_attempts_one_open ON payment_attempts (invoice_id) WHERE status = 'open';
CREATE UNIQUE INDEX payment_attempts_one_succeeded ON payment_attempts (invoice_id) WHERE status = 'succeeded';
-- Recovery: the oldest open attempts first.
CREATE INDEX payment_attempts_open ON payment_attempts (scope, created_at, id) WHERE status = 'open';
CREATE INDEX payment_attempts_by_creation ON payment_attempts (created_at, id);

-- Who may write it ---------------------------------------------------------------------------------

CREATE TABLE terms (
    scope              smallint NOT NULL,
    number             bigint NOT NULL,
    uid                uuid NOT NULL,
    holder             text NOT NULL,
    election_revision  bigint NOT NULL,         -- for the record; never the fence
    timeline           bigint NOT NULL,         -- of the database's write-ahead log: tells a failover that lost commits
    started_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at           timestamptz,
    end_reason         text,
    CONSTRAINT terms_pkey PRIMARY KEY (scope, number),
    CONSTRAINT terms_uid_key UNIQUE (uid)
);

CREATE TABLE fence (
    scope      smallint PRIMARY KEY,
    term       bigint NOT NULL,
    uid        uuid NOT NULL,
    holder     text NOT NULL,
    raised_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE replicas (
    name          text PRIMARY KEY,
    incarnation   text NOT NULL,
    role          text NOT NULL,
    ops_url       text NOT NULL,
    started_at    timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT replicas_role_known CHECK (role IN ('candidate', 'follower', 'leader', 'stood_down'))
);

-- What happened --------------------------------------------------------------------------------------

CREATE TABLE events (
    seq              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind             text NOT NULL,
    term             bigint,                    -- the term that wrote it; null for the REST API
    subject          text NOT NULL,             -- the id of what it happened to
    subscription_id  text,
    data             jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT events_kind_is_noun_verb CHECK (kind ~ '^[a-z_]+\.[a-z_]+$')
);

-- Who may ask --------------------------------------------------------------------------------------

CREATE TABLE api_keys (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    key_sha256  bytea NOT NULL,                 -- keys are 256 random bits, so a plain hash cannot be guessed back
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz,
    CONSTRAINT api_keys_key_sha256_key UNIQUE (key_sha256),
    CONSTRAINT api_keys_scopes_known CHECK (scopes <@ ARRAY['read', 'write'] AND cardinality(scopes) > 0)
);

CREATE TABLE api_idempotency_keys (
    api_key_id        text NOT NULL CONSTRAINT api_idempotency_keys_api_key_id_fkey REFERENCES api_keys (id),
    key               text NOT NULL,
    request_sha256    bytea NOT NULL,           -- over method, path and body
    resource_id       text NOT NULL,            -- chosen at the first request, so that a resumed one makes the same thing
    response_status   integer,                  -- null while the first request is still at work
    response_body     bytea,
    locked_until      timestamptz NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    completed_at      timestamptz,
    CONSTRAINT api_idempotency_keys_pkey PRIMARY KEY (api_key_id, key),
    CONSTRAINT api_idempotency_keys_key_length CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT api_idempotency_keys_complete CHECK (
        (response_status IS NULL) = (completed_at IS NULL) AND (response_status IS NULL) = (response_body IS NULL))
);
CREATE INDEX api_idempotency_keys_by_age ON api_idempotency_keys (created_at);
