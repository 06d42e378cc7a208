-- Each process has its own role with the rights it needs and no others. Passwords are set by the
-- migrate command from its environment: no default password exists.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['middleman_api', 'middleman_replica', 'middleman_judge'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', wanted);
        END IF;
    END LOOP;
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO middleman_api, middleman_replica, middleman_judge;
GRANT EXECUTE ON FUNCTION business_now, period_boundary TO middleman_api, middleman_replica, middleman_judge;
GRANT SELECT ON customers, plans, subscriptions, invoices, payment_attempts, terms, fence, replicas, events,
    test_clock, deployment, alembic_version TO middleman_api, middleman_replica, middleman_judge;

-- The REST API: customers, plans, subscriptions; reads money, never writes it.
GRANT INSERT ON customers, plans, subscriptions, events, api_idempotency_keys TO middleman_api;
GRANT UPDATE (email, name, payment_method_id, metadata, updated_at) ON customers TO middleman_api;
GRANT UPDATE (name, active, metadata) ON plans TO middleman_api;
GRANT UPDATE (ends_at, metadata, updated_at) ON subscriptions TO middleman_api;
GRANT SELECT ON api_keys, api_idempotency_keys TO middleman_api;
GRANT UPDATE (response_status, response_body, locked_until, completed_at) ON api_idempotency_keys TO middleman_api;
GRANT DELETE ON api_idempotency_keys TO middleman_api;
GRANT EXECUTE ON FUNCTION set_test_clock TO middleman_api;

-- The replica: money under the fence. Frozen columns (amount, currency, customer, period) have no UPDATE right.
GRANT INSERT ON invoices, payment_attempts, events TO middleman_replica;
GRANT UPDATE (status, payment_intent_id, bound_term, attempt_count, next_attempt_at, settled_at)
    ON invoices TO middleman_replica;
GRANT UPDATE (status, charge_id, code, decline_code, advice_code, message, unknown_reason, unknown_at,
    settled_term, settled_at) ON payment_attempts TO middleman_replica;
GRANT UPDATE (status, next_period_no, next_due_at, ends_at, updated_at) ON subscriptions TO middleman_replica;
GRANT INSERT, UPDATE ON replicas TO middleman_replica;
GRANT EXECUTE ON FUNCTION enter_term, hold_fence, assert_fence, refuse_change, take_office, leave_office,
    terminate_sessions_of_holder TO middleman_replica;

-- A replica that freezes must not hold rows for long, not even in a session typed by hand.
ALTER ROLE middleman_replica SET idle_in_transaction_session_timeout = '2s';
ALTER ROLE middleman_replica SET lock_timeout = '2s';
ALTER ROLE middleman_replica SET statement_timeout = '10s';
ALTER ROLE middleman_replica SET synchronous_commit = 'on';
ALTER ROLE middleman_api SET lock_timeout = '5s';
ALTER ROLE middleman_api SET statement_timeout = '10s';
ALTER ROLE middleman_api SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE middleman_api SET synchronous_commit = 'on';
ALTER ROLE middleman_judge SET default_transaction_read_only = on;
