-- A process that freezes must not hold rows for long, wherever in its transaction it sleeps.
--
-- Between preparing a statement and running it a session counts as active and waits for its client:
-- neither idle_in_transaction_session_timeout nor statement_timeout ends it then, and its locks last as long as the
-- client sleeps. transaction_timeout ends it in every state. PostgreSQL has it from version 17 on
-- (https://www.postgresql.org/docs/17/runtime-config-client.html#GUC-TRANSACTION-TIMEOUT); with an older one such
-- locks last until the process is killed, or wakes.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN
        ALTER ROLE middleman_replica SET transaction_timeout = '12s';
        ALTER ROLE middleman_api SET transaction_timeout = '10s';
    END IF;
END $$;
