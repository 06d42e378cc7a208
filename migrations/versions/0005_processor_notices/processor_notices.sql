-- What the processor told of by webhook: that a payment intent is worth looking at -----------------------
--
-- Not a money table: a notice settles nothing and books nothing. The REST API files it, and the leader looks at the
-- payment intent itself, under the fence. So a notice may come twice, late, in any order, or be a lie.

CREATE TABLE processor_notices (
    event_id           text PRIMARY KEY,            -- the processor's: delivered twice, filed once
    scope              smallint NOT NULL,
    invoice_id         text NOT NULL CONSTRAINT processor_notices_invoice_id_fkey REFERENCES invoices (id),
    payment_intent_id  text NOT NULL,
    kind               text NOT NULL,
    occurred_at        timestamptz NOT NULL,        -- by the processor's clock
    received_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    handled_at         timestamptz,
    handled_term       bigint,
    CONSTRAINT processor_notices_kind_known CHECK (kind IN ('intent.succeeded', 'intent.canceled')),
    CONSTRAINT processor_notices_handled_in_a_term CHECK ((handled_at IS NULL) = (handled_term IS NULL))
);
-- The leader's look in every round of claims: next to nothing is ever in here.
CREATE INDEX processor_notices_unhandled ON processor_notices (scope, received_at, event_id) WHERE handled_at IS NULL;
-- What is old enough to be forgotten.
CREATE INDEX processor_notices_handled ON processor_notices (handled_at) WHERE handled_at IS NOT NULL;

GRANT SELECT ON processor_notices TO middleman_api, middleman_replica, middleman_judge;
GRANT INSERT, DELETE ON processor_notices TO middleman_api;
GRANT UPDATE (handled_at, handled_term) ON processor_notices TO middleman_replica;
