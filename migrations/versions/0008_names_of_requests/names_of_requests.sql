-- What a request makes is named after its Idempotency-Key ------------------------------------------------------
--
-- Such names have no order, so the lists are read by creation.

CREATE INDEX customers_by_creation ON customers (created_at, id);
CREATE INDEX plans_by_creation ON plans (created_at, id);
CREATE INDEX subscriptions_by_creation ON subscriptions (created_at, id);

DROP INDEX subscriptions_of_customer, subscriptions_of_plan, subscriptions_past_due, subscriptions_with_an_end;
CREATE INDEX subscriptions_of_customer ON subscriptions (customer_id, created_at, id);
CREATE INDEX subscriptions_of_plan ON subscriptions (plan_id, created_at, id);
CREATE INDEX subscriptions_past_due ON subscriptions (created_at, id) WHERE status = 'past_due';
-- To a caller it is canceled as soon as its end has passed, which the leader records a moment later.
CREATE INDEX subscriptions_with_an_end ON subscriptions (created_at, id) WHERE ends_at IS NOT NULL;

-- The digest of the body's meaning, beside that of its bytes; null in rows of the release before. The generations count
-- how often the processor stored a failure under our key: each gives the next try a key of its own.
ALTER TABLE api_idempotency_keys
    ADD COLUMN canonical_sha256 bytea,
    ADD COLUMN customer_generation smallint NOT NULL DEFAULT 0,
    ADD COLUMN attach_generation smallint NOT NULL DEFAULT 0,
    ADD CONSTRAINT api_idempotency_keys_generations_count_up
        CHECK (customer_generation >= 0 AND attach_generation >= 0);
GRANT UPDATE (customer_generation, attach_generation) ON api_idempotency_keys TO middleman_api;
