"""The statements that carry a guarantee, in full."""

from sqlalchemy import text

from middleman.adapters.postgres.schema import subscriptions
from middleman.ports.accounts import Subscription

# A subscription copies price and interval from its plan, in one statement with the checks that allow it.
# A name that is taken makes none: the row that has it is another request's, or an earlier one's of this key.
# An anchor may lie in the past only while its first billing period still runs (nobody is billed for a
# period that had ended before they subscribed), and at most ten years ahead. An anchor that is given as an instant is
# kept to the second, or refused: one in an hour that the zone's clock repeats has no local time that leads back to it.
ADD_SUBSCRIPTION = text("""
    WITH given AS (
        SELECT c.id AS customer_id, p.id AS plan_id, p.amount_minor, p.currency, p.interval_unit, p.interval_count,
               coalesce(CAST(:anchor_local AS timestamp),
                        date_trunc('second', coalesce(CAST(:anchor_at AS timestamptz), business_now()))
                            AT TIME ZONE :time_zone) AS anchor_local
        FROM customers c, plans p
        WHERE c.id = :customer_id AND p.id = :plan_id AND p.active
    ), bounded AS (
        SELECT *, period_boundary(anchor_local, :time_zone, interval_unit, interval_count, 0) AS begins_at
        FROM given
        WHERE period_boundary(anchor_local, :time_zone, interval_unit, interval_count, 1) > business_now()
          AND (CAST(:anchor_at AS timestamptz) IS NULL
               OR period_boundary(anchor_local, :time_zone, interval_unit, interval_count, 0)
                  = date_trunc('second', CAST(:anchor_at AS timestamptz)))
          AND period_boundary(anchor_local, :time_zone, interval_unit, interval_count, 0)
              <= business_now() + interval '10 years'
    )
    INSERT INTO subscriptions (id, customer_id, plan_id, amount_minor, currency, interval_unit, interval_count,
                               anchor_local, time_zone, next_due_at, metadata)
    SELECT :id, customer_id, plan_id, amount_minor, currency, interval_unit, interval_count,
           anchor_local, :time_zone, begins_at, CAST(:metadata AS jsonb)
    FROM bounded
    ON CONFLICT (id) DO NOTHING
    RETURNING id, customer_id, plan_id, status, amount_minor, currency, interval_unit, interval_count, anchor_local,
              time_zone, next_period_no, next_due_at, ends_at, metadata, created_at, updated_at
""").columns(*(subscriptions.c[name] for name in Subscription.__dataclass_fields__))

# Why ADD_SUBSCRIPTION inserted nothing.
WHY_NO_SUBSCRIPTION = text("""
    SELECT EXISTS (SELECT FROM customers WHERE id = :customer_id) AS customer_exists,
           EXISTS (SELECT FROM plans WHERE id = :plan_id) AS plan_exists,
           (SELECT active FROM plans WHERE id = :plan_id) AS plan_active,
           business_now() AS business_now,
           CAST(:anchor_at AS timestamptz) AT TIME ZONE :time_zone AS anchor_local,
           CAST(:anchor_at AS timestamptz) AT TIME ZONE :time_zone AT TIME ZONE :time_zone AS shown_again_at
""")

# Ending a subscription takes two statements on purpose. The first locks the row, after any claim that holds
# it; `business_now()` of the second is then later than that of every such claim, so no period that was
# claimed can lie after the end, and every period that fell due before it is billed.
LOCK_SUBSCRIPTION = text("SELECT id FROM subscriptions WHERE id = :id FOR NO KEY UPDATE")

END_NOW = text("""
    UPDATE subscriptions SET ends_at = LEAST(ends_at, business_now()), updated_at = now()
    WHERE id = :id AND status <> 'canceled' AND (ends_at IS NULL OR ends_at > business_now())
""")

# The first boundary after business time now: boundary 0 where the first period has not begun. Where that is the one that
# is stored, the stored one is the end: computed anew, by time zone data that has changed since, it could lie an hour later,
# and one more period would begin before it. Where periods are due and not claimed, no boundary after now is stored: there
# the number of the period says where it ends. The guess counts whole calendar units since the anchor; clamped month ends
# and clock changes move a boundary by less than one unit, so the answer lies within one step of the guess, and five are
# looked at.
END_AT_PERIOD_END = text("""
    WITH now AS (
        SELECT business_now() AS at
    ), chosen AS (
        SELECT s.id, n.period_no, n.at
        FROM now, subscriptions s, LATERAL (
            SELECT s.next_period_no AS period_no, s.next_due_at AS at WHERE s.next_due_at > now.at
            UNION ALL (
                SELECT b.period_no, b.at
                FROM (SELECT now.at AT TIME ZONE s.time_zone AS local_now) l,
                     LATERAL (SELECT CASE s.interval_unit
                         WHEN 'day'   THEN (l.local_now::date - s.anchor_local::date)
                         WHEN 'week'  THEN (l.local_now::date - s.anchor_local::date) / 7
                         WHEN 'month' THEN (extract(year FROM l.local_now) - extract(year FROM s.anchor_local)) * 12
                                           + extract(month FROM l.local_now) - extract(month FROM s.anchor_local)
                         WHEN 'year'  THEN extract(year FROM l.local_now) - extract(year FROM s.anchor_local)
                         END::integer / s.interval_count AS guess) g,
                     LATERAL generate_series(GREATEST(g.guess - 2, s.next_period_no + 1),
                                             GREATEST(g.guess + 2, s.next_period_no + 2)) n,
                     LATERAL (SELECT n AS period_no, period_boundary(s.anchor_local, s.time_zone, s.interval_unit,
                                                                     s.interval_count, n) AS at) b
                WHERE s.next_due_at <= now.at AND b.at > now.at
                ORDER BY b.at LIMIT 1)
        ) n
        WHERE s.id = :id
    )
    UPDATE subscriptions s
    SET ends_at = chosen.at, ends_before_period = chosen.period_no, updated_at = now()
    FROM chosen, now
    WHERE s.id = chosen.id AND s.status <> 'canceled' AND (s.ends_at IS NULL OR s.ends_at > now.at)
      AND (s.ends_at IS NULL OR s.ends_at > chosen.at)
""")

ADD_EVENT = text("""
    INSERT INTO events (kind, subject, subscription_id, data)
    VALUES (:kind, :subject, :subscription_id, CAST(:data AS jsonb))
""")

SET_TEST_CLOCK = text("""
    SELECT set_test_clock(make_interval(secs => :advance_s), coalesce(:rate, (SELECT t.rate FROM test_clock t)))
""")

READ_TEST_CLOCK = text("""
    SELECT environment, least(business_now(), timestamptz '9999-01-01Z') AS business_now, rate
    FROM deployment, test_clock
""")

# One effect per key: the second insert of a key waits for the transaction of the first, then does nothing.
RESERVE = text("""
    INSERT INTO api_idempotency_keys (api_key_id, key, request_sha256, canonical_sha256, resource_id, locked_until)
    VALUES (:api_key_id, :key, :digest, :canonical, :resource_id, clock_timestamp() + make_interval(secs => :hold_s))
    ON CONFLICT (api_key_id, key) DO NOTHING
    RETURNING resource_id, locked_until, customer_key_no, attach_key_no
""")

# A request that died in the middle is resumed under the same resource id, once its hold has run out.
RESUME = text("""
    UPDATE api_idempotency_keys SET locked_until = clock_timestamp() + make_interval(secs => :hold_s)
    WHERE api_key_id = :api_key_id AND key = :key
      AND (request_sha256 = :digest OR canonical_sha256 = :canonical)
      AND response_status IS NULL AND locked_until <= clock_timestamp()
    RETURNING resource_id, locked_until, customer_key_no, attach_key_no
""")

RECALL = text("""
    SELECT request_sha256 = :digest OR canonical_sha256 IS NOT DISTINCT FROM :canonical AS is_same_request,
           response_status, response_body FROM api_idempotency_keys
    WHERE api_key_id = :api_key_id AND key = :key
""")

RECALL_AND_HOLD = text(RECALL.text + " FOR NO KEY UPDATE")

REMEMBER = text("""
    UPDATE api_idempotency_keys
    SET response_status = :status, response_body = :body, completed_at = clock_timestamp()
    WHERE api_key_id = :api_key_id AND key = :key AND response_status IS NULL
""")

# A key is recorded before it is used, and never one below it: whoever resumes sends no key of which less is known.
USE_CUSTOMER_KEY_NO = text("""
    UPDATE api_idempotency_keys SET customer_key_no = GREATEST(customer_key_no, :key_no)
    WHERE api_key_id = :api_key_id AND key = :key RETURNING customer_key_no
""")

USE_ATTACH_KEY_NO = text("""
    UPDATE api_idempotency_keys SET attach_key_no = GREATEST(attach_key_no, :key_no)
    WHERE api_key_id = :api_key_id AND key = :key RETURNING attach_key_no
""")

# Only one's own hold: where it had run out, another request may be at work under a hold of its own.
RELEASE = text("""
    UPDATE api_idempotency_keys SET locked_until = clock_timestamp()
    WHERE api_key_id = :api_key_id AND key = :key AND response_status IS NULL
      AND locked_until = CAST(:held_until AS timestamptz)
""")

WITHDRAW = text("""
    DELETE FROM api_idempotency_keys
    WHERE api_key_id = :api_key_id AND key = :key AND response_status IS NULL
      AND locked_until = CAST(:held_until AS timestamptz)
""")

FORGET = text("""
    DELETE FROM api_idempotency_keys WHERE (api_key_id, key) IN (
        SELECT api_key_id, key FROM api_idempotency_keys
        WHERE created_at < now() - make_interval(secs => :older_than_s)
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
""")
