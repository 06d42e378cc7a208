"""The statements of the charge pipeline, each in full with what it guarantees.

All run inside `enter_term()`: the fence row is held FOR SHARE from the first statement to the commit.
Each is set-based: one statement for a whole batch.
"""

from sqlalchemy import text

# Guarantees: from here to the commit no other term can begin, and a stale term gets no further.
# The real clock comes with the same round trip: it is compared with others before a claim (ADR 0023).
_REAL_CLOCK = "CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS unix_s"
ENTER_TERM = text(
    "SELECT enter_term(CAST(:scope AS smallint), CAST(:term AS bigint), CAST(:uid AS uuid)), " + _REAL_CLOCK
)
READ_CLOCK = text(f"SELECT {_REAL_CLOCK}")

# Guarantees: a subscription ends only after every period that fell due before its end was claimed.
END_SUBSCRIPTIONS = text("""
WITH ended AS (
    SELECT id FROM subscriptions
    WHERE scope = :scope AND status <> 'canceled' AND ends_at IS NOT NULL
      AND ends_at <= business_now() AND (ends_at <= next_due_at OR next_period_no >= ends_before_period)
    ORDER BY ends_at LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
), canceled AS (
    UPDATE subscriptions s SET status = 'canceled', updated_at = clock_timestamp()
    FROM ended WHERE s.id = ended.id RETURNING s.id, s.ends_at
)
INSERT INTO events (kind, term, subject, subscription_id, data)
SELECT 'subscription.ended', :term, id, id, jsonb_build_object('ends_at', ends_at) FROM canceled
""")

# What may be claimed now. A subscription that is past due, or whose last period is still open, owes that first: it gets no
# new period before.
CLAIMABLE = """
    s.scope = :scope AND s.status = 'active' AND s.withheld IS NULL AND s.next_due_at <= business_now()
      AND (s.ends_at IS NULL OR s.next_due_at < s.ends_at)
      AND (s.ends_before_period IS NULL OR s.next_period_no < s.ends_before_period)
      AND NOT EXISTS (
          SELECT FROM invoices p
          WHERE p.subscription_id = s.id AND p.period_no = s.next_period_no - 1
            AND p.status IN ('open', 'requires_action'))
"""

# Guarantees (DESIGN §2.4 a): invoice, first attempt with its frozen request and the advanced subscription
# exist together or not at all; UNIQUE (subscription_id, period_no) refuses a second invoice for a period.
# A subscription with more than `max_overdue` periods overdue is held instead, and comes back without an attempt.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT s.id, s.next_period_no, s.next_due_at,
           (s.released_until IS NULL OR s.released_until < s.next_due_at)
           AND period_boundary(s.anchor_local, s.time_zone, s.interval_unit, s.interval_count,
                               s.next_period_no + CAST(:max_overdue AS integer)) <= business_now() AS is_overdue
    FROM subscriptions s
    WHERE {due} AND {chosen}
    ORDER BY s.next_due_at LIMIT :limit
    FOR NO KEY UPDATE OF s SKIP LOCKED
), held AS (
    UPDATE subscriptions s
    SET withheld = 'held', withheld_at = business_now(), updated_at = clock_timestamp(),
        withheld_reason = 'more than ' || CAST(:max_overdue AS integer) || ' periods are overdue'
    FROM due WHERE s.id = due.id AND due.is_overdue
    RETURNING s.id, s.next_due_at
), held_event AS (
    INSERT INTO events (kind, term, subject, subscription_id, data)
    SELECT 'subscription.held', :term, id, id, jsonb_build_object('next_due_at', next_due_at) FROM held
), advanced AS (
    UPDATE subscriptions s
    SET next_period_no = due.next_period_no + 1,
        next_due_at = period_boundary(s.anchor_local, s.time_zone, s.interval_unit, s.interval_count,
                                      due.next_period_no + 1)
    FROM due WHERE s.id = due.id AND NOT due.is_overdue
    RETURNING s.id AS subscription_id, s.customer_id, s.amount_minor, s.currency,
              due.next_period_no AS period_no, due.next_due_at AS period_start, s.next_due_at AS period_end
), opened AS (
    INSERT INTO invoices (id, subscription_id, customer_id, scope, period_no, period_start, period_end,
                          amount_minor, currency, processor_customer_id, created_term)
    SELECT 'in_' || substr(a.subscription_id, 5) || '_' || a.period_no, a.subscription_id, a.customer_id,
           :scope, a.period_no, a.period_start, a.period_end, a.amount_minor, a.currency,
           c.processor_customer_id, :term
    FROM advanced a JOIN customers c ON c.id = a.customer_id
    RETURNING id, subscription_id, customer_id, period_no, period_start, amount_minor, currency,
              processor_customer_id
), attempted AS (
    INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, amount_minor, currency,
                                  processor_customer_id, payment_method_id, created_term)
    SELECT 'at_' || substr(o.id, 4) || '_1', o.id, :scope, 1, o.amount_minor, o.currency,
           o.processor_customer_id, c.payment_method_id, :term
    FROM opened o JOIN customers c ON c.id = o.customer_id
    RETURNING id, invoice_id, payment_method_id
), logged AS (
    INSERT INTO events (kind, term, subject, subscription_id)
    SELECT 'invoice.opened', :term, id, subscription_id FROM opened
)
SELECT t.id AS attempt_id, 1 AS attempt_no, o.id AS invoice_id, o.subscription_id, o.period_no,
       o.amount_minor, o.currency, o.processor_customer_id, t.payment_method_id,
       NULL::text AS payment_intent_id, ARRAY[]::text[] AS settled_charge_ids,
       1 AS create_key_no, 1 AS confirm_key_no, 0 AS parked_count, o.period_start,
       EXTRACT(EPOCH FROM business_now() - o.period_start)::float8 AS lag_s
FROM opened o JOIN attempted t ON t.invoice_id = o.id
UNION ALL
SELECT NULL, 0, NULL, h.id, 0, 0, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, h.next_due_at, 0 FROM held h
ORDER BY period_start, invoice_id
"""
# The bound from below spares the scan what lies dead at the front of the index while an old snapshot is held open.
CLAIM_DUE = text(
    _CLAIM.format(
        due=CLAIMABLE, chosen="s.next_due_at >= coalesce(CAST(:not_before AS timestamptz), '-infinity')"
    )
)
CLAIM_PERIOD_OF = text(_CLAIM.format(due=CLAIMABLE, chosen="s.id = :subscription_id"))

# Where the due scan begins: what waits behind a period that is being charged counts as well, or a watermark would pass it.
OLDEST_DUE = text("""
SELECT next_due_at FROM subscriptions
WHERE scope = :scope AND status = 'active' AND withheld IS NULL AND next_due_at <= business_now()
ORDER BY next_due_at LIMIT 1
""")

# The subscriptions that the next claim would take. Read only after a claim was refused, to find the reason.
DUE_SUBSCRIPTIONS = text(
    f"SELECT s.id FROM subscriptions s WHERE {CLAIMABLE} ORDER BY s.next_due_at LIMIT :limit"  # noqa: S608  # a constant of this file
)

# Sets aside, of the subscriptions that the next claim would take, those that it would be refused for.
SET_ASIDE_DUE = text(f"""
WITH due AS MATERIALIZED (
    SELECT s.id, period_refusal(s.id, s.anchor_local, s.time_zone, s.interval_unit, s.interval_count,
                                s.next_period_no, s.next_due_at) AS reason
    FROM subscriptions s
    WHERE {CLAIMABLE}
    ORDER BY s.next_due_at LIMIT :limit
    FOR NO KEY UPDATE OF s SKIP LOCKED
), marked AS (
    UPDATE subscriptions s
    SET withheld = 'set_aside', withheld_at = business_now(), withheld_reason = due.reason,
        try_again_at = business_now() + interval '1 day', updated_at = clock_timestamp()
    FROM due WHERE s.id = due.id AND due.reason IS NOT NULL
    RETURNING s.id, s.withheld_reason
), logged AS (
    INSERT INTO events (kind, term, subject, subscription_id, data)
    SELECT 'subscription.set_aside', :term, id, id, jsonb_build_object('reason', withheld_reason) FROM marked
)
SELECT id, withheld_reason AS reason FROM marked
""")  # noqa: S608  # the condition is a constant of this file
SET_ASIDE_ONE = text("""
WITH marked AS (
    UPDATE subscriptions s
    SET withheld = 'set_aside', withheld_at = business_now(), withheld_reason = :reason,
        try_again_at = business_now() + interval '1 day', updated_at = clock_timestamp()
    WHERE s.id = :subscription_id AND s.scope = :scope AND s.withheld IS NULL
    RETURNING s.id
)
INSERT INTO events (kind, term, subject, subscription_id, data)
SELECT 'subscription.set_aside', :term, id, id, jsonb_build_object('reason', CAST(:reason AS text)) FROM marked
""")

# The daily try: what can be billed by now is due again; the others wait for another day, and no event repeats that.
RETRY_SET_ASIDE = text("""
WITH due AS MATERIALIZED (
    SELECT s.id, period_refusal(s.id, s.anchor_local, s.time_zone, s.interval_unit, s.interval_count,
                                s.next_period_no, s.next_due_at) AS reason
    FROM subscriptions s
    WHERE s.scope = :scope AND s.withheld = 'set_aside' AND s.try_again_at <= business_now()
    ORDER BY s.try_again_at LIMIT :limit
    FOR NO KEY UPDATE OF s SKIP LOCKED
), resumed AS (
    UPDATE subscriptions s
    SET withheld = CASE WHEN due.reason IS NOT NULL THEN 'set_aside' END,
        withheld_at = CASE WHEN due.reason IS NOT NULL THEN s.withheld_at END,
        withheld_reason = due.reason,
        try_again_at = CASE WHEN due.reason IS NOT NULL THEN business_now() + interval '1 day' END,
        updated_at = clock_timestamp()
    FROM due WHERE s.id = due.id
    RETURNING s.id, s.withheld
)
INSERT INTO events (kind, term, subject, subscription_id)
SELECT 'subscription.resumed', :term, id, id FROM resumed WHERE withheld IS NULL
""")

# Guarantees (DESIGN §2.5): a new attempt exists only after a decline was settled; the partial unique
# index refuses a second open one. It is charged to what the customer pays with today.
_CLAIM_RETRIES = """
WITH due AS MATERIALIZED (
    SELECT id, next_attempt_at FROM invoices
    WHERE scope = :scope AND status = 'open' AND next_attempt_at IS NOT NULL AND next_attempt_at <= business_now()
      AND {chosen}
    ORDER BY next_attempt_at LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
), planned AS (
    UPDATE invoices i SET attempt_count = i.attempt_count + 1, next_attempt_at = NULL, set_aside_reason = NULL
    FROM due WHERE i.id = due.id
    RETURNING i.id, i.subscription_id, i.customer_id, i.period_no, i.attempt_count, i.amount_minor, i.currency,
              i.processor_customer_id, i.payment_intent_id, i.create_key_no, due.next_attempt_at AS due_at
), attempted AS (
    INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, amount_minor, currency,
                                  processor_customer_id, payment_method_id, created_term)
    SELECT 'at_' || substr(p.id, 4) || '_' || p.attempt_count, p.id, :scope, p.attempt_count, p.amount_minor,
           p.currency, p.processor_customer_id, c.payment_method_id, :term
    FROM planned p JOIN customers c ON c.id = p.customer_id
    RETURNING id, invoice_id, payment_method_id
), logged AS (
    INSERT INTO events (kind, term, subject, subscription_id)
    SELECT 'attempt.opened', :term, t.id, p.subscription_id FROM attempted t JOIN planned p ON p.id = t.invoice_id
)
SELECT t.id AS attempt_id, p.attempt_count AS attempt_no, p.id AS invoice_id, p.subscription_id, p.period_no,
       p.amount_minor, p.currency, p.processor_customer_id, t.payment_method_id, p.payment_intent_id,
       ARRAY(SELECT e.charge_id FROM payment_attempts e WHERE e.invoice_id = p.id AND e.status <> 'open')
           AS settled_charge_ids,
       p.create_key_no, 1 AS confirm_key_no, 0 AS parked_count,
       EXTRACT(EPOCH FROM business_now() - p.due_at)::float8 AS lag_s
FROM planned p JOIN attempted t ON t.invoice_id = p.id
ORDER BY p.due_at, p.id
"""
CLAIM_RETRIES = text(_CLAIM_RETRIES.format(chosen="true"))
CLAIM_RETRY_OF = text(_CLAIM_RETRIES.format(chosen="id = :invoice_id"))

# The invoices that the next claim of retries would take. Read only after it was refused, to find the reason.
DUE_RETRIES = text("""
SELECT id FROM invoices
WHERE scope = :scope AND status = 'open' AND next_attempt_at IS NOT NULL AND next_attempt_at <= business_now()
ORDER BY next_attempt_at LIMIT :limit
""")

# A retry that the database refuses is tried again in a day; the reason stays until then.
SET_ASIDE_RETRY = text("""
WITH marked AS (
    UPDATE invoices i SET next_attempt_at = business_now() + interval '1 day', set_aside_reason = :reason
    WHERE i.id = :invoice_id AND i.scope = :scope AND i.status = 'open' AND i.next_attempt_at IS NOT NULL
    RETURNING i.id, i.subscription_id
)
INSERT INTO events (kind, term, subject, subscription_id, data)
SELECT 'invoice.set_aside', :term, id, subscription_id, jsonb_build_object('reason', CAST(:reason AS text)) FROM marked
""")

# What webhooks told of, and what is not looked into yet. An invoice that is open without a date is at work: its notice
# waits, unless its attempt is parked. Then the attempt is due for a try now, and the notice has done its work.
# The look costs one index range, of next to nothing, in each round of claims.
PENDING_NOTICES = text("""
WITH pending AS MATERIALIZED (
    SELECT n.event_id, n.payment_intent_id, n.received_at, i.status IN ('paid', 'void') AS is_settled
    FROM processor_notices n JOIN invoices i ON i.id = n.invoice_id
    WHERE n.scope = :scope AND n.handled_at IS NULL AND n.parked_until IS NULL
      AND NOT (i.status = 'open' AND i.next_attempt_at IS NULL)
    ORDER BY n.received_at, n.event_id LIMIT :limit
), handled AS (
    UPDATE processor_notices n SET handled_at = clock_timestamp(), handled_term = :term
    FROM pending p WHERE n.event_id = p.event_id AND p.is_settled
), of_parked AS MATERIALIZED (
    SELECT n.event_id, t.id AS attempt_id
    FROM processor_notices n JOIN payment_attempts t ON t.invoice_id = n.invoice_id
    WHERE n.scope = :scope AND n.handled_at IS NULL AND n.parked_until IS NULL
      AND t.status = 'open' AND t.parked_until IS NOT NULL
    ORDER BY n.received_at, n.event_id LIMIT :limit
), hurried AS (
    UPDATE payment_attempts t SET parked_until = LEAST(t.parked_until, clock_timestamp())
    WHERE t.id IN (SELECT attempt_id FROM of_parked) AND t.status = 'open' AND t.parked_until IS NOT NULL
    RETURNING t.id
), used AS (
    UPDATE processor_notices n SET handled_at = clock_timestamp(), handled_term = :term
    FROM of_parked o WHERE n.event_id = o.event_id AND o.attempt_id IN (SELECT id FROM hurried)
)
SELECT event_id, payment_intent_id, 0 AS parked_count FROM pending WHERE NOT is_settled ORDER BY received_at, event_id
""")

# Guarantees: a notice settles nothing. Where the leader saw for itself that the intent is final, the invoice gets the
# next attempt, which the pipeline settles as every other; one at a time, because it takes an invoice that is not at work.
# What the processor only told of, and did not show, changes no invoice.
HEED = text("""
WITH looked AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:looks AS jsonb)) AS l(event_id text, finding text)
), locked AS MATERIALIZED (
    SELECT n.event_id, n.kind, n.received_at, l.finding, i.id AS invoice_id, i.status
    FROM looked l JOIN processor_notices n ON n.event_id = l.event_id JOIN invoices i ON i.id = n.invoice_id
    WHERE n.handled_at IS NULL AND NOT (i.status = 'open' AND i.next_attempt_at IS NULL)
    ORDER BY i.id, n.event_id
    FOR NO KEY UPDATE OF i, n
), handled AS (
    UPDATE processor_notices n SET handled_at = clock_timestamp(), handled_term = :term
    FROM locked l WHERE n.event_id = l.event_id
), telling AS (  -- several notices may tell the same of one invoice: the first of them opens the attempt
    SELECT DISTINCT ON (invoice_id) * FROM locked
    WHERE status IN ('open', 'requires_action', 'uncollectible')
      AND (finding = 'succeeded' OR (finding = 'canceled' AND status <> 'uncollectible'))
    ORDER BY invoice_id, received_at, event_id
), planned AS (
    UPDATE invoices i
    SET status = 'open', settled_at = NULL, attempt_count = i.attempt_count + 1, next_attempt_at = NULL
    FROM telling t WHERE i.id = t.invoice_id
    RETURNING i.id, i.subscription_id, i.customer_id, i.period_no, i.attempt_count, i.amount_minor, i.currency,
              i.processor_customer_id, i.payment_intent_id, i.create_key_no, t.event_id, t.kind, t.status AS was
), attempted AS (
    INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, amount_minor, currency,
                                  processor_customer_id, payment_method_id, created_term)
    SELECT 'at_' || substr(p.id, 4) || '_' || p.attempt_count, p.id, :scope, p.attempt_count, p.amount_minor,
           p.currency, p.processor_customer_id, c.payment_method_id, :term
    FROM planned p JOIN customers c ON c.id = p.customer_id
    RETURNING id, invoice_id, payment_method_id
), reopened AS (
    INSERT INTO events (kind, term, subject, subscription_id, data)
    SELECT 'invoice.reopened', :term, id, subscription_id,
           jsonb_build_object('processor_event_id', event_id, 'kind', kind, 'was', was)
    FROM planned
), logged AS (
    INSERT INTO events (kind, term, subject, subscription_id)
    SELECT 'attempt.opened', :term, t.id, p.subscription_id FROM attempted t JOIN planned p ON p.id = t.invoice_id
)
SELECT p.event_id, t.id AS attempt_id, p.attempt_count AS attempt_no, p.id AS invoice_id, p.subscription_id,
       p.period_no, p.amount_minor, p.currency, p.processor_customer_id, t.payment_method_id, p.payment_intent_id,
       ARRAY(SELECT e.charge_id FROM payment_attempts e WHERE e.invoice_id = p.id AND e.status <> 'open')
           AS settled_charge_ids,
       p.create_key_no, 1 AS confirm_key_no, 0 AS parked_count
FROM planned p JOIN attempted t ON t.invoice_id = p.id
""")

_OPEN = """
SELECT t.id AS attempt_id, t.attempt_no, i.id AS invoice_id, i.subscription_id, i.period_no,
       t.amount_minor, t.currency, t.processor_customer_id, t.payment_method_id, i.payment_intent_id,
       ARRAY(SELECT e.charge_id FROM payment_attempts e WHERE e.invoice_id = i.id AND e.status <> 'open')
           AS settled_charge_ids,
       i.create_key_no, t.confirm_key_no, t.parked_count, 0::float8 AS lag_s
FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
WHERE t.scope = :scope AND t.status = 'open' AND {chosen}
"""

# Recovery (DESIGN §2.8): what a predecessor left at work, oldest first, a page at a time. Parked attempts wait on.
OPEN_ATTEMPTS = text(
    _OPEN.format(
        chosen="t.parked_until IS NULL AND (CAST(:after AS text) IS NULL OR (t.created_at, t.id) >"
        " (SELECT p.created_at, p.id FROM payment_attempts p WHERE p.id = :after))"
        " ORDER BY t.created_at, t.id LIMIT :limit"
    )
)

# Real time, not business time: the processor's own clocks decide when a parked attempt can go on.
PARKED_ATTEMPTS = text(
    _OPEN.format(
        chosen="t.parked_until <= clock_timestamp() AND t.id <> ALL (CAST(:carried AS text[]))"
        " ORDER BY t.parked_until, t.id LIMIT :limit"
    )
)
PARKED_NOTICES = text("""
SELECT event_id, payment_intent_id, parked_count FROM processor_notices
WHERE scope = :scope AND handled_at IS NULL AND parked_until <= clock_timestamp()
  AND event_id <> ALL (CAST(:carried AS text[]))
ORDER BY parked_until, event_id LIMIT :limit
""")

# Guarantees: a parked attempt stays open, and with it the bar to any other attempt. What is parked again for the same
# reason is no new event.
PARK_ATTEMPTS = text("""
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:attempts AS jsonb)) AS w(
        attempt_id text, reason text, times integer, parked_s float8)
), locked AS MATERIALIZED (
    SELECT t.id, t.invoice_id, t.unknown_reason AS was, t.parked_until IS NULL AS is_new, w.reason, w.times, w.parked_s
    FROM wanted w JOIN payment_attempts t ON t.id = w.attempt_id
    WHERE t.status = 'open'
    ORDER BY t.id
    FOR NO KEY UPDATE OF t
), parked AS (
    UPDATE payment_attempts t
    SET parked_until = clock_timestamp() + make_interval(secs => l.parked_s), parked_count = l.times,
        unknown_reason = l.reason,
        unknown_at = CASE WHEN l.was = l.reason THEN t.unknown_at ELSE clock_timestamp() END
    FROM locked l WHERE t.id = l.id
)
INSERT INTO events (kind, term, subject, subscription_id, data)
SELECT 'attempt.parked', :term, l.id, i.subscription_id, jsonb_build_object('reason', l.reason)
FROM locked l JOIN invoices i ON i.id = l.invoice_id
WHERE l.is_new OR l.was IS DISTINCT FROM l.reason
""")
PARK_NOTICES = text("""
UPDATE processor_notices n
SET parked_until = clock_timestamp() + make_interval(secs => w.parked_s), parked_count = w.times
FROM jsonb_to_recordset(CAST(:notices AS jsonb)) AS w(event_id text, times integer, parked_s float8)
WHERE n.event_id = w.event_id AND n.handled_at IS NULL
""")

# Guarantees: a key's number is on disk before a request carries it, and never goes back.
USE_NEXT_KEYS = text("""
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:keys AS jsonb)) AS w(
        attempt_id text, invoice_id text, create_key_no integer, confirm_key_no integer)
), created AS (
    UPDATE invoices i SET create_key_no = w.create_key_no
    FROM wanted w WHERE i.id = w.invoice_id AND i.create_key_no < w.create_key_no
    RETURNING i.id, i.subscription_id
), confirmed AS (
    UPDATE payment_attempts t SET confirm_key_no = w.confirm_key_no
    FROM wanted w WHERE t.id = w.attempt_id AND t.status = 'open' AND t.confirm_key_no < w.confirm_key_no
    RETURNING t.id, t.invoice_id
)
INSERT INTO events (kind, term, subject, subscription_id, data)
SELECT 'attempt.key_renewed', :term, w.attempt_id, i.subscription_id,
       jsonb_build_object('create_key_no', w.create_key_no, 'confirm_key_no', w.confirm_key_no)
FROM wanted w JOIN invoices i ON i.id = w.invoice_id
WHERE w.invoice_id IN (SELECT id FROM created) OR w.attempt_id IN (SELECT id FROM confirmed)
""")

# Guarantees (DESIGN §2.4 c): an invoice gets one payment intent for ever. Whoever comes second is told
# which one is recorded, and confirms that. The rows are locked before they are looked at: a repeat may arrive
# while the commit of the first try is still under way, and has to see what that one recorded.
BIND = text("""
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:bindings AS jsonb)) AS w(invoice_id text, payment_intent_id text)
), locked AS MATERIALIZED (
    SELECT i.id, i.payment_intent_id AS recorded, w.payment_intent_id AS wanted
    FROM wanted w JOIN invoices i ON i.id = w.invoice_id
    FOR NO KEY UPDATE OF i
), bound AS (
    UPDATE invoices i SET payment_intent_id = l.wanted, bound_term = :term
    FROM locked l WHERE i.id = l.id AND l.recorded IS NULL
    RETURNING i.id, i.subscription_id, i.payment_intent_id
), logged AS (
    INSERT INTO events (kind, term, subject, subscription_id, data)
    SELECT 'intent.bound', :term, id, subscription_id, jsonb_build_object('payment_intent_id', payment_intent_id)
    FROM bound
)
SELECT id, coalesce(recorded, wanted) AS payment_intent_id FROM locked
""")

# Unknown is not failed: the attempt stays open, and with it the bar to any other attempt. What stays unknown for the
# same reason is noted once, however often it is asked for: the log of events keeps everything for ever.
MARK_UNKNOWN = text("""
WITH noted AS (
    UPDATE payment_attempts t SET unknown_reason = u.reason, unknown_at = clock_timestamp()
    FROM jsonb_to_recordset(CAST(:attempts AS jsonb)) AS u(attempt_id text, reason text)
    WHERE t.id = u.attempt_id AND t.status = 'open' AND t.unknown_reason IS DISTINCT FROM u.reason
    RETURNING t.id, t.unknown_reason, t.invoice_id
)
INSERT INTO events (kind, term, subject, subscription_id, data)
SELECT 'attempt.unknown', :term, n.id, i.subscription_id, jsonb_build_object('reason', n.unknown_reason)
FROM noted n JOIN invoices i ON i.id = n.invoice_id
""")

# Guarantees (DESIGN §2.4 e): an attempt is settled once; attempt, invoice and subscription change together, and
# a success is booked with them, both sides.
SETTLE = text("""
WITH outcome AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:outcomes AS jsonb)) AS o(
        attempt_id text, attempt_status text, invoice_status text, subscription_status text,
        next_attempt_after_s float8, charge_id text, code text, decline_code text, advice_code text, message text)
), settled AS (
    UPDATE payment_attempts t
    SET status = o.attempt_status, charge_id = o.charge_id, code = o.code, decline_code = o.decline_code,
        advice_code = o.advice_code, message = o.message, settled_at = clock_timestamp(), settled_term = :term,
        parked_until = NULL
    FROM outcome o WHERE t.id = o.attempt_id AND t.status = 'open'
    RETURNING t.id, t.invoice_id, t.amount_minor, t.currency, o.attempt_status, o.invoice_status,
              o.subscription_status, o.next_attempt_after_s, o.charge_id, o.code, o.decline_code
), booked AS (
    INSERT INTO ledger_entries (attempt_id, account, invoice_id, amount_minor, currency, term)
    SELECT s.id, e.account, s.invoice_id, e.side * s.amount_minor, s.currency, :term
    FROM settled s CROSS JOIN (VALUES ('processor_balance', 1), ('revenue', -1)) AS e (account, side)
    WHERE s.attempt_status = 'succeeded'
), invoice AS (
    UPDATE invoices i
    SET status = s.invoice_status,
        next_attempt_at = CASE WHEN s.invoice_status = 'open'
                               THEN business_now() + make_interval(secs => s.next_attempt_after_s) END,
        settled_at = CASE WHEN s.invoice_status <> 'open' THEN clock_timestamp() END
    FROM settled s WHERE i.id = s.invoice_id AND i.status = 'open'
    RETURNING i.id, i.subscription_id, i.amount_minor, i.currency, s.subscription_status
), worst AS (  -- several invoices of one subscription may settle together: the worst news counts
    SELECT subscription_id, array_agg(id) AS invoice_ids,
           bool_or(subscription_status = 'canceled') AS cancels, bool_or(subscription_status = 'past_due') AS is_late
    FROM invoice GROUP BY subscription_id
), subscription AS (
    UPDATE subscriptions s
    SET status = CASE WHEN w.cancels THEN 'canceled' WHEN w.is_late THEN 'past_due' ELSE 'active' END,
        ends_at = CASE WHEN w.cancels THEN LEAST(s.ends_at, s.next_due_at) ELSE s.ends_at END,
        updated_at = clock_timestamp()
    FROM worst w
    WHERE s.id = w.subscription_id AND s.status <> 'canceled'
      AND (w.cancels OR (w.is_late AND s.status = 'active')
           OR (NOT w.is_late AND s.status = 'past_due' AND NOT EXISTS (
                   SELECT FROM invoices other
                   WHERE other.subscription_id = s.id AND other.id <> ALL (w.invoice_ids)
                     AND (other.status IN ('requires_action', 'uncollectible')
                          OR (other.status = 'open' AND (other.next_attempt_at IS NOT NULL OR other.attempt_count > 1))))))
    RETURNING s.id, s.status, s.ends_at
), ended AS (
    INSERT INTO events (kind, term, subject, subscription_id, data)
    SELECT 'subscription.ended', :term, id, id, jsonb_build_object('ends_at', ends_at)
    FROM subscription WHERE status = 'canceled'
)
INSERT INTO events (kind, term, subject, subscription_id, data)
SELECT 'attempt.settled', :term, s.id, i.subscription_id,
       jsonb_strip_nulls(jsonb_build_object(
           'outcome', s.attempt_status, 'invoice_id', s.invoice_id, 'amount_minor', i.amount_minor,
           'currency', i.currency, 'charge_id', s.charge_id, 'decline_code', coalesce(s.decline_code, s.code)))
FROM settled s JOIN invoice i ON i.id = s.invoice_id
""")

# Read when a write changed fewer rows than it names: was it repeated, or has the database lost what it names?
STANDINGS = text("""
SELECT t.id, t.status, t.charge_id, i.payment_intent_id
FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
WHERE t.id = ANY (CAST(:attempts AS text[]))
""")
