-- The fence knows the timeline of its term: a failover within a term makes the term stale ---------------
--
-- An asynchronous failover can lose the last commits. A leader that outlives it would go on with what it remembers,
-- and the database no longer has that. The write-ahead log begins a new timeline with every promotion, so a term that
-- began on another timeline is refused like one that was superseded: its successor reads what the database has now.

CREATE FUNCTION current_timeline() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint
$$;

ALTER TABLE fence ADD COLUMN timeline bigint;
UPDATE fence f SET timeline = coalesce(
    (SELECT t.timeline FROM terms t WHERE t.scope = f.scope AND t.number = f.term), current_timeline());
ALTER TABLE fence ALTER COLUMN timeline SET NOT NULL;

-- A transaction cannot outlive a failover, so the timeline is compared where the row is read anyway. The row's lock
-- guarantees the rest, as before: FOR SHARE at exactly this term, until commit.
CREATE OR REPLACE FUNCTION hold_fence() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    my_scope smallint := nullif(current_setting('middleman.scope', true), '');
    my_term  bigint   := nullif(current_setting('middleman.term', true), '');
    my_uid   uuid     := nullif(current_setting('middleman.term_uid', true), '');
    began_on bigint;
    now_on   bigint;
BEGIN
    SELECT timeline INTO began_on FROM fence
        WHERE scope = my_scope AND term = my_term AND uid = my_uid FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'stale term: scope %, term % is not the one at the fence',
            coalesce(my_scope::text, '(none)'), coalesce(my_term::text, '(none)')
            USING ERRCODE = 'MM001', HINT = 'Stand down: another replica leads. Money is written inside enter_term() only.';
    END IF;
    now_on := ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint;
    IF now_on <> began_on THEN
        RAISE EXCEPTION 'stale term: scope %, term % began on timeline %, and the database is on timeline %',
            my_scope, my_term, began_on, now_on
            USING ERRCODE = 'MM001', HINT = 'Stand down: the database has failed over and may have lost commits.';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION take_office(of_scope smallint, new_holder text, revision bigint, new_uid uuid,
                                       OUT number bigint, OUT timeline bigint, OUT previous_timeline bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    timeline := current_timeline();
    INSERT INTO fence AS f (scope, term, uid, holder, timeline)
    VALUES (of_scope, 1, new_uid, new_holder, take_office.timeline)
    ON CONFLICT (scope) DO UPDATE
        SET term = f.term + 1, uid = new_uid, holder = new_holder, raised_at = clock_timestamp(),
            timeline = excluded.timeline
    RETURNING f.term INTO number;
    SELECT t.timeline INTO previous_timeline FROM terms t WHERE t.scope = of_scope ORDER BY t.number DESC LIMIT 1;
    UPDATE terms t SET ended_at = clock_timestamp(), end_reason = 'superseded'
        WHERE t.scope = of_scope AND t.ended_at IS NULL;
    INSERT INTO terms (scope, number, uid, holder, election_revision, timeline)
        VALUES (of_scope, number, new_uid, new_holder, revision, take_office.timeline);
    INSERT INTO events (kind, term, subject, data)
        VALUES ('term.started', number, new_holder, jsonb_build_object('scope', of_scope, 'election_revision', revision));
END $$;

-- The order in which events can be followed -------------------------------------------------------------
--
-- `seq` is handed out before its transaction commits: a lower one may become visible later. So the order is that of
-- (xact_id, seq), and the feed ends before the oldest transaction of this database that is still at work. All that
-- becomes visible later comes after that point. xact_id has 64 bits and is never used again; xmin has 32, and after
-- 2^31 transactions an old one looks like one from the future.
--
-- What is there already has committed, since this waits for its writers: it keeps its order by seq, before all else.
-- The constant default rewrites no row.
ALTER TABLE events ADD COLUMN xact_id xid8 NOT NULL DEFAULT '0';
ALTER TABLE events ALTER COLUMN xact_id SET DEFAULT pg_current_xact_id();
CREATE UNIQUE INDEX events_in_order ON events (xact_id, seq);
DROP INDEX events_of_subject;
DROP INDEX events_of_kind;
CREATE INDEX events_of_subject ON events (subject, xact_id, seq);
CREATE INDEX events_of_kind ON events (kind, xact_id, seq);

-- The oldest transaction of this database that is at work in the caller's snapshot, or the next one to come.
--
-- A snapshot lists the transactions of all databases of the server. One that is known to belong to another database
-- writes no event here. One whose session is not found any more has ended since the snapshot was taken, and counts:
-- what it wrote is not visible in this snapshot. So does a prepared transaction, which has no session, unless it is
-- known to be of another database. SECURITY DEFINER, because a role sees no more than its own sessions otherwise.
CREATE FUNCTION oldest_writer(snapshot pg_snapshot) RETURNS xid8
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT x FROM pg_snapshot_xip(snapshot) AS x
         WHERE NOT EXISTS (SELECT FROM pg_stat_activity a
                           WHERE a.backend_xid = x::xid AND a.datname <> current_database())
           AND NOT EXISTS (SELECT FROM pg_prepared_xacts p
                           WHERE p.transaction = x::xid AND p.database <> current_database())
         ORDER BY x LIMIT 1),
        pg_snapshot_xmax(snapshot))
$$;
REVOKE EXECUTE ON FUNCTION current_timeline, oldest_writer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_timeline TO middleman_replica;
GRANT EXECUTE ON FUNCTION oldest_writer TO middleman_api;
