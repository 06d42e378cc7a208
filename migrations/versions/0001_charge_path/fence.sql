-- The fence: a stale term cannot write money, whoever typed the SQL -----------------------------------
--
-- A transaction names its term in three settings (middleman.scope, .term, .term_uid; local to it).
-- Every statement that writes a money table compares them with the fence row and holds that row
-- FOR SHARE until commit. take_office() updates the row, so it waits for the transactions of the term
-- before, and every later statement of that term finds another number and is refused.
-- FOR KEY SHARE would not conflict with the update, and a plain read would not wait for it.

CREATE FUNCTION hold_fence() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    my_scope smallint := nullif(current_setting('middleman.scope', true), '');
    my_term  bigint   := nullif(current_setting('middleman.term', true), '');
    my_uid   uuid     := nullif(current_setting('middleman.term_uid', true), '');
BEGIN
    PERFORM 1 FROM fence WHERE scope = my_scope AND term = my_term AND uid = my_uid FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'stale term: scope %, term % is not the one at the fence',
            coalesce(my_scope::text, '(none)'), coalesce(my_term::text, '(none)')
            USING ERRCODE = 'MM001', HINT = 'Stand down: another replica leads. Money is written inside enter_term() only.';
    END IF;
END $$;

-- Begin a fenced transaction: name the term, and hold the fence from the first moment on.
CREATE FUNCTION enter_term(scope smallint, term bigint, uid uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('middleman.scope', scope::text, true),
            set_config('middleman.term', term::text, true),
            set_config('middleman.term_uid', uid::text, true);
    PERFORM hold_fence();
END $$;

CREATE FUNCTION assert_fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM hold_fence();
    RETURN NULL;
END $$;

CREATE TRIGGER invoices_fenced BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON invoices
    FOR EACH STATEMENT EXECUTE FUNCTION assert_fence();
CREATE TRIGGER payment_attempts_fenced BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON payment_attempts
    FOR EACH STATEMENT EXECUTE FUNCTION assert_fence();

-- Cut off whoever held the fence before: a frozen holder may sleep inside a transaction that holds the row.
-- Runs as the caller, who may signal sessions of its own role only.
CREATE FUNCTION terminate_sessions_of_holder(of_scope smallint, successor text) RETURNS integer LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))::integer
    FROM pg_stat_activity a JOIN fence f ON a.application_name = f.holder
    WHERE f.scope = of_scope AND f.holder <> successor AND a.usename = current_user
$$;

-- Raise the fence. The number strictly grows; the random uid tells apart two terms that a database
-- which lost its last commits gave the same number.
CREATE FUNCTION take_office(of_scope smallint, new_holder text, revision bigint, new_uid uuid,
                            OUT number bigint, OUT timeline bigint, OUT previous_timeline bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO fence AS f (scope, term, uid, holder) VALUES (of_scope, 1, new_uid, new_holder)
    ON CONFLICT (scope) DO UPDATE
        SET term = f.term + 1, uid = new_uid, holder = new_holder, raised_at = clock_timestamp()
    RETURNING f.term INTO number;
    timeline := ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint;
    SELECT t.timeline INTO previous_timeline FROM terms t WHERE t.scope = of_scope ORDER BY t.number DESC LIMIT 1;
    UPDATE terms t SET ended_at = clock_timestamp(), end_reason = 'superseded'
        WHERE t.scope = of_scope AND t.ended_at IS NULL;
    INSERT INTO terms (scope, number, uid, holder, election_revision, timeline)
        VALUES (of_scope, number, new_uid, new_holder, revision, timeline);
    INSERT INTO events (kind, term, subject, data)
        VALUES ('term.started', number, new_holder, jsonb_build_object('scope', of_scope, 'election_revision', revision));
END $$;

-- Say that a term is over. The number stays at the fence: only the next take_office() raises it.
CREATE FUNCTION leave_office(of_scope smallint, of_term bigint, of_uid uuid, reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    leaving_holder text;
BEGIN
    UPDATE terms t SET ended_at = clock_timestamp(), end_reason = reason
        WHERE t.scope = of_scope AND t.number = of_term AND t.uid = of_uid AND t.ended_at IS NULL
        RETURNING t.holder INTO leaving_holder;
    IF leaving_holder IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO events (kind, term, subject, data)
        VALUES ('term.ended', of_term, leaving_holder, jsonb_build_object('scope', of_scope, 'reason', reason));
    RETURN true;
END $$;
