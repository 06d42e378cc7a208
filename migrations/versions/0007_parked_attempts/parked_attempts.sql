-- An attempt that gets no answer waits here, and not in a slot of the leader ----------------------------
-- (docs/adr/0020-a-waiting-attempt-holds-no-slot.md)

ALTER TABLE payment_attempts
    ADD COLUMN confirm_key_no integer NOT NULL DEFAULT 1,  -- which of the attempt's idempotency keys is in use
    ADD COLUMN parked_until timestamptz,                   -- when it is due for its next try, in real time
    ADD COLUMN parked_count integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT payment_attempts_confirm_key_no_counts_up CHECK (confirm_key_no >= 1),
    ADD CONSTRAINT payment_attempts_parked_only_when_open CHECK (parked_until IS NULL OR status = 'open');
ALTER TABLE invoices
    ADD COLUMN create_key_no integer NOT NULL DEFAULT 1,   -- which of the invoice's idempotency keys is in use
    ADD CONSTRAINT invoices_create_key_no_counts_up CHECK (create_key_no >= 1);
ALTER TABLE processor_notices
    ADD COLUMN parked_until timestamptz,
    ADD COLUMN parked_count integer NOT NULL DEFAULT 0;

-- Recovery: what is at work. However many are parked, they are not read here.
CREATE INDEX payment_attempts_at_work ON payment_attempts (scope, created_at, id)
    WHERE status = 'open' AND parked_until IS NULL;
CREATE INDEX payment_attempts_parked ON payment_attempts (scope, parked_until, id) WHERE parked_until IS NOT NULL;
DROP INDEX processor_notices_unhandled;
CREATE INDEX processor_notices_unhandled ON processor_notices (scope, received_at, event_id)
    WHERE handled_at IS NULL AND parked_until IS NULL;
CREATE INDEX processor_notices_parked ON processor_notices (scope, parked_until, event_id)
    WHERE handled_at IS NULL AND parked_until IS NOT NULL;

GRANT UPDATE (confirm_key_no, parked_until, parked_count) ON payment_attempts TO middleman_replica;
GRANT UPDATE (create_key_no) ON invoices TO middleman_replica;
GRANT UPDATE (parked_until, parked_count) ON processor_notices TO middleman_replica;

-- For the owner: let parked attempts be due for a try now (NULL: all of them). It names the term that is at the fence, so
-- it waits for nobody and changes nothing but the time of the next try.
CREATE FUNCTION retry_parked_attempts(attempts text[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    at_fence fence;
    due integer;
    retried integer := 0;
BEGIN
    FOR at_fence IN SELECT * FROM fence LOOP
        PERFORM enter_term(at_fence.scope, at_fence.term, at_fence.uid);
        UPDATE payment_attempts SET parked_until = LEAST(parked_until, clock_timestamp())
            WHERE scope = at_fence.scope AND status = 'open' AND parked_until IS NOT NULL
              AND (attempts IS NULL OR id = ANY (attempts));
        GET DIAGNOSTICS due = ROW_COUNT;
        retried := retried + due;
    END LOOP;
    RETURN retried;
END $$;
REVOKE EXECUTE ON FUNCTION retry_parked_attempts FROM PUBLIC;
