-- Old events may be pruned: by the table's owner, through prune_events() only, and none of the last 30 days ------------
--
-- Invoices, attempts and ledger entries stay: that a period was charged is known by its row alone.

DROP TRIGGER events_append_only ON events;
CREATE TRIGGER events_append_only BEFORE UPDATE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('events are append-only');

-- Guarantee: an event is deleted only where the owner prunes, and it is older than 30 days by the server's clock.
CREATE FUNCTION refuse_unless_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('middleman.prunes', true) IS DISTINCT FROM 'events'
        OR NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
        OR OLD.at > clock_timestamp() - interval '30 days' THEN
        RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'MM002', TABLE = TG_TABLE_NAME,
            HINT = 'The owner prunes events older than 30 days with prune_events().';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER events_pruned_only BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse_unless_pruned();

-- Delete the oldest events that are older than `older_than`, `at_most` of them; returns how many. 0: none is left.
-- Runs as the caller, who has to own the table. A statement takes no longer than its batch, and locks nothing else.
CREATE FUNCTION prune_events(older_than interval, at_most integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    IF older_than < interval '30 days' THEN
        RAISE EXCEPTION 'events of the last 30 days are kept (asked to prune those older than %)', older_than
            USING ERRCODE = 'MM002';
    END IF;
    PERFORM set_config('middleman.prunes', 'events', true);
    -- The oldest come first by number: a batch without an old one among them ends the search.
    DELETE FROM events e USING (SELECT seq, at FROM events ORDER BY seq LIMIT at_most) oldest
        WHERE e.seq = oldest.seq AND oldest.at < clock_timestamp() - older_than;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    PERFORM set_config('middleman.prunes', '', true);
    IF pruned > 0 THEN
        INSERT INTO events (kind, subject, data) VALUES ('events.pruned', 'events',
            jsonb_build_object('pruned', pruned, 'older_than', older_than::text));
    END IF;
    RETURN pruned;
END $$;
REVOKE EXECUTE ON FUNCTION prune_events, refuse_unless_pruned FROM PUBLIC;
