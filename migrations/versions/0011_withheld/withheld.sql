-- What is due and not claimed for now, and why ----------------------------------------------------------
-- (docs/adr/0022-what-cannot-be-billed-is-set-aside.md, docs/adr/0028-one-debt-at-a-time.md)
--
-- The mark stands in the row, so that it outlives a term, a claim passes by such a row without a visit, and a person can
-- read it:
--   set_aside  the database refuses the period (its time zone is unknown here, say); tried again a day later
--   held       more periods are overdue than an outage explains; an operator looks, and releases it
ALTER TABLE subscriptions
    ADD COLUMN withheld         text,
    ADD COLUMN withheld_at      timestamptz,  -- business time, as the two below
    ADD COLUMN withheld_reason  text,
    ADD COLUMN try_again_at     timestamptz,  -- set_aside: when it is tried again
    ADD COLUMN released_until   timestamptz,  -- periods that began by then may be caught up, however many they are
    ADD COLUMN ends_before_period integer,    -- an end at a period's end, by the number of the first period after it
    ADD CONSTRAINT subscriptions_period_end_is_an_end CHECK (ends_before_period IS NULL OR ends_at IS NOT NULL),
    ADD CONSTRAINT subscriptions_withheld_known CHECK (withheld IN ('set_aside', 'held')),
    ADD CONSTRAINT subscriptions_withheld_says_why
        CHECK ((withheld IS NULL) = (withheld_at IS NULL) AND (withheld IS NULL) = (withheld_reason IS NULL)),
    ADD CONSTRAINT subscriptions_set_aside_is_tried_again
        CHECK ((withheld IS NOT DISTINCT FROM 'set_aside') = (try_again_at IS NOT NULL));
-- A retry that the database refuses.
ALTER TABLE invoices
    ADD COLUMN set_aside_reason text;

-- The due scan: a subscription that is past due owes an earlier period, and gets no new one before that is paid.
DROP INDEX subscriptions_due;
CREATE INDEX subscriptions_due ON subscriptions (scope, next_due_at) WHERE status = 'active' AND withheld IS NULL;
-- The daily try, the metrics, and the operator's list.
CREATE INDEX subscriptions_withheld ON subscriptions (scope, withheld, try_again_at) WHERE withheld IS NOT NULL;
CREATE INDEX invoices_set_aside ON invoices (scope, next_attempt_at) WHERE set_aside_reason IS NOT NULL;

-- Why the next period of a subscription cannot be billed; null where nothing is seen that forbids it. It computes what a
-- claim computes, and keeps the error of one row from being the error of all.
CREATE FUNCTION period_refusal(of_subscription text, anchor_local timestamp, time_zone text, unit text, count integer,
                               of_period integer, period_start timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE
    period_end timestamptz;
BEGIN
    period_end := period_boundary(anchor_local, time_zone, unit, count, of_period + 1);
    IF period_end <= period_start THEN
        RETURN format('period %s would end at %s, not after its start at %s', of_period, period_end, period_start);
    END IF;
    IF EXISTS (SELECT FROM invoices i WHERE i.subscription_id = of_subscription AND i.period_no = of_period) THEN
        RETURN format('period %s has an invoice already', of_period);
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN SQLERRM;
END $$;

-- For the owner: bill withheld subscriptions from now on (NULL: all of them). What is overdue by now is caught up.
CREATE FUNCTION release_withheld(subscription_ids text[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    released integer;
BEGIN
    WITH freed AS (
        UPDATE subscriptions
        SET withheld = NULL, withheld_at = NULL, withheld_reason = NULL, try_again_at = NULL,
            released_until = business_now(), updated_at = clock_timestamp()
        WHERE withheld IS NOT NULL AND (subscription_ids IS NULL OR id = ANY (subscription_ids))
        RETURNING id
    )
    INSERT INTO events (kind, subject, subscription_id) SELECT 'subscription.released', id, id FROM freed;
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END $$;

REVOKE EXECUTE ON FUNCTION period_refusal, release_withheld FROM PUBLIC;
GRANT EXECUTE ON FUNCTION period_refusal TO middleman_replica;
GRANT UPDATE (withheld, withheld_at, withheld_reason, try_again_at) ON subscriptions TO middleman_replica;
GRANT UPDATE (ends_before_period) ON subscriptions TO middleman_api;
GRANT UPDATE (set_aside_reason) ON invoices TO middleman_replica;
