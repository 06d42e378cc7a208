-- Database time decides what is due, shifted by the test clock in test mode only ----------------------

CREATE TABLE deployment (
    id           boolean PRIMARY KEY DEFAULT true,
    environment  text NOT NULL DEFAULT 'production',
    CONSTRAINT deployment_one_row CHECK (id),
    CONSTRAINT deployment_environment_known CHECK (environment IN ('production', 'test'))
);
INSERT INTO deployment DEFAULT VALUES;

CREATE TABLE test_clock (
    id            boolean PRIMARY KEY DEFAULT true,
    base_real     timestamptz NOT NULL DEFAULT '2000-01-01T00:00:00Z',
    base_virtual  timestamptz NOT NULL DEFAULT '2000-01-01T00:00:00Z',
    rate          double precision NOT NULL DEFAULT 1,  -- virtual seconds per real second
    CONSTRAINT test_clock_one_row CHECK (id),
    CONSTRAINT test_clock_rate_bounds CHECK (rate BETWEEN 0 AND 1000000)
);
INSERT INTO test_clock DEFAULT VALUES;

-- Business time at the start of the statement. Stable, so that an index range can use it.
CREATE FUNCTION business_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN rate = 1 AND base_real = base_virtual THEN statement_timestamp()
                ELSE base_virtual + (statement_timestamp() - base_real) * rate END
    FROM test_clock
$$;

-- Advance the test clock and set how fast it runs from here on. It never goes back.
CREATE FUNCTION set_test_clock(advance interval, new_rate double precision) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    shifted timestamptz;
BEGIN
    IF (SELECT environment FROM deployment) <> 'test' THEN
        RAISE EXCEPTION 'the test clock exists in the test environment only' USING ERRCODE = 'MM003';
    END IF;
    IF advance < interval '0' THEN
        RAISE EXCEPTION 'the test clock never goes back (asked to advance by %)', advance USING ERRCODE = 'MM003';
    END IF;
    PERFORM 1 FROM test_clock FOR UPDATE;
    shifted := (SELECT base_virtual + (clock_timestamp() - base_real) * rate FROM test_clock) + advance;
    UPDATE test_clock SET base_real = clock_timestamp(), base_virtual = shifted, rate = new_rate;
    RETURN shifted;
END $$;

-- Boundary n of a schedule, from the anchor every time: 31 January + 1 month + 1 month is 31 March.
-- Period n is [boundary(n), boundary(n + 1)). The twin of middleman.domain.periods, and equal to it by test.
CREATE FUNCTION period_boundary(anchor_local timestamp, time_zone text, unit text, count integer, n integer)
RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (anchor_local + CASE unit
        WHEN 'day'   THEN make_interval(days   => count * n)
        WHEN 'week'  THEN make_interval(weeks  => count * n)
        WHEN 'month' THEN make_interval(months => count * n)
        WHEN 'year'  THEN make_interval(years  => count * n)
    END) AT TIME ZONE time_zone
$$;
