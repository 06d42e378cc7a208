-- The keys at the processor are numbered from 1 in every table --------------------------------------------------
--
-- `customer_generation` and `attach_generation` counted from 0, and no release used them.

ALTER TABLE api_idempotency_keys DROP CONSTRAINT api_idempotency_keys_generations_count_up;
ALTER TABLE api_idempotency_keys
    DROP COLUMN customer_generation,
    DROP COLUMN attach_generation,
    ADD COLUMN customer_key_no smallint NOT NULL DEFAULT 1, -- which of the request's keys creates the customer
    ADD COLUMN attach_key_no smallint NOT NULL DEFAULT 1,   -- which of them attaches the payment method
    ADD CONSTRAINT api_idempotency_keys_key_nos_count_up CHECK (customer_key_no >= 1 AND attach_key_no >= 1);
GRANT UPDATE (customer_key_no, attach_key_no) ON api_idempotency_keys TO middleman_api;
