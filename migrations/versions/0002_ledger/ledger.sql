-- The double-entry ledger: every success is booked twice, and the two sum to zero ---------------------

-- Until this commits nobody settles: what is paid below and what is booked below are the same.
LOCK TABLE invoices, payment_attempts IN SHARE ROW EXCLUSIVE MODE;

-- No foreign keys: they check row by row what assert_entries_balance() below checks for the whole batch, and more
-- strictly (18 us for each charge against 4, measured). Attempts and invoices are never deleted.
CREATE TABLE ledger_entries (
    attempt_id    text NOT NULL,
    account       text NOT NULL,
    invoice_id    text NOT NULL,
    amount_minor  bigint NOT NULL,              -- a debit is positive, a credit negative; ISO 4217 minor units
    currency      text NOT NULL,
    term          bigint NOT NULL,              -- the term that settled the attempt
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A success is booked once.
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (attempt_id, account),
    -- What the processor owes us rises by a debit, what we have earned by a credit.
    CONSTRAINT ledger_entries_account_and_side CHECK (
        (account = 'processor_balance' AND amount_minor > 0) OR (account = 'revenue' AND amount_minor < 0)),
    CONSTRAINT ledger_entries_currency_form CHECK (currency ~ '^[A-Z]{3}$')
);

-- What was paid before there was a ledger. No trigger stands in the way yet: these are nobody's new writes.
INSERT INTO ledger_entries (attempt_id, account, invoice_id, amount_minor, currency, term, recorded_at)
SELECT t.id, e.account, t.invoice_id, e.side * t.amount_minor, t.currency, t.settled_term, t.settled_at
FROM payment_attempts t CROSS JOIN (VALUES ('processor_balance', 1), ('revenue', -1)) AS e (account, side)
WHERE t.status = 'succeeded'
ORDER BY t.settled_at, t.id;

CREATE TRIGGER ledger_entries_fenced BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION assert_fence();

CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('ledger entries are append-only');

-- The entries that one statement adds balance, attempt by attempt, and say what the attempt says. Nothing is ever
-- changed or taken away and nothing is booked twice, so all entries together balance as well. Looked up by the
-- attempts' primary key, whatever the planner believes about a table that was empty when it first looked.
CREATE FUNCTION assert_entries_balance() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    unbalanced text;
    mismatched text;
BEGIN
    SELECT min(a.attempt_id) FILTER (WHERE a.balance <> 0),
           min(a.attempt_id) FILTER (WHERE t.id IS NULL OR t.status <> 'succeeded'
               OR (a.invoice_id, a.other_invoice_id) <> (t.invoice_id, t.invoice_id)
               OR (a.debit, a.currency, a.other_currency) <> (t.amount_minor, t.currency, t.currency))
    INTO unbalanced, mismatched
    FROM (SELECT attempt_id, sum(amount_minor) AS balance, max(amount_minor) AS debit,
                 min(invoice_id) AS invoice_id, max(invoice_id) AS other_invoice_id,
                 min(currency) AS currency, max(currency) AS other_currency
          FROM added GROUP BY attempt_id) a
    LEFT JOIN payment_attempts t ON t.id = a.attempt_id;
    IF unbalanced IS NOT NULL THEN
        RAISE EXCEPTION 'the entries of % do not sum to zero', unbalanced
            USING ERRCODE = 'MM004', HINT = 'Book both sides of a success in one statement.';
    END IF;
    IF mismatched IS NOT NULL THEN
        RAISE EXCEPTION 'the entries of % are not its success: other invoice, amount or currency, or not succeeded',
            mismatched USING ERRCODE = 'MM004', HINT = 'Book what the attempt says when it has succeeded.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_entries_balance AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION assert_entries_balance();

-- The other way round: no success without its entries, whoever settles it.
CREATE FUNCTION assert_successes_booked() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    unbooked text;
BEGIN
    SELECT c.id INTO unbooked FROM changed c
    WHERE c.status = 'succeeded' AND NOT EXISTS (SELECT FROM ledger_entries e WHERE e.attempt_id = c.id)
    LIMIT 1;
    IF unbooked IS NOT NULL THEN
        RAISE EXCEPTION 'the success of % is not booked', unbooked USING ERRCODE = 'MM004',
            HINT = 'Settle with the release that knows the ledger: success and entries in one statement.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER payment_attempts_successes_booked AFTER UPDATE ON payment_attempts REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION assert_successes_booked();

REVOKE EXECUTE ON FUNCTION assert_entries_balance, assert_successes_booked FROM PUBLIC;
GRANT EXECUTE ON FUNCTION assert_entries_balance, assert_successes_booked TO middleman_replica;
GRANT SELECT ON ledger_entries TO middleman_api, middleman_replica, middleman_judge;
GRANT INSERT ON ledger_entries TO middleman_replica;
