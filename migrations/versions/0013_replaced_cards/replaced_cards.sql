-- Which customers have replaced their payment method, and what the leader has planned for it ---------------------
--
-- Not a money table: it plans nothing by itself. The REST API files a replacement in the transaction that stores the new
-- payment method, and the leader plans the next attempts under the fence. One row per customer, so it cannot pile up.

CREATE TABLE payment_method_replacements (
    customer_id        text NOT NULL CONSTRAINT payment_method_replacements_customer_id_fkey REFERENCES customers (id),
    scope              smallint NOT NULL DEFAULT 0,
    payment_method_id  text NOT NULL,               -- the customer's since filed_at
    filed_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    handled_at         timestamptz,
    handled_term       bigint,
    CONSTRAINT payment_method_replacements_pkey PRIMARY KEY (customer_id, scope),
    CONSTRAINT payment_method_replacements_handled_in_a_term CHECK ((handled_at IS NULL) = (handled_term IS NULL))
);
-- What the leader reads in every round of claims: few rows are ever in here.
CREATE INDEX payment_method_replacements_unhandled ON payment_method_replacements (scope, filed_at, customer_id)
    WHERE handled_at IS NULL;

GRANT SELECT ON payment_method_replacements TO middleman_api, middleman_replica, middleman_judge;
GRANT INSERT, UPDATE (payment_method_id, filed_at, handled_at, handled_term) ON payment_method_replacements
    TO middleman_api;
GRANT UPDATE (handled_at, handled_term) ON payment_method_replacements TO middleman_replica;
