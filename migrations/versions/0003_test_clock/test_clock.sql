-- Advance the test clock and set how fast it runs from here on. It never goes back.
--
-- A claim reads the clock as it stood when the claim's statement began. Were the clock stopped in between, for an
-- instant before that, the claim would bill a period that by the stopped clock never fell due. So the clock waits for
-- every fenced transaction under way, and those that come wait for the clock: each holds the fence row from a
-- statement of its own before the first that asks what is due (enter_term), and thus sees the clock as it was set.
CREATE OR REPLACE FUNCTION set_test_clock(advance interval, new_rate double precision) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moment  timestamptz;
    shifted timestamptz;
BEGIN
    IF (SELECT environment FROM deployment) <> 'test' THEN
        RAISE EXCEPTION 'the test clock exists in the test environment only' USING ERRCODE = 'MM003';
    END IF;
    IF advance < interval '0' THEN
        RAISE EXCEPTION 'the test clock never goes back (asked to advance by %)', advance USING ERRCODE = 'MM003';
    END IF;
    PERFORM 1 FROM fence ORDER BY scope FOR NO KEY UPDATE;
    PERFORM 1 FROM test_clock FOR UPDATE;
    moment := clock_timestamp();
    shifted := (SELECT base_virtual + (moment - base_real) * rate FROM test_clock) + advance;
    UPDATE test_clock SET base_real = moment, base_virtual = shifted, rate = new_rate;
    RETURN shifted;
END $$;
