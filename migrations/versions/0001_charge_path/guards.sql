-- What is written once stays written --------------------------------------------------------------

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'MM002', TABLE = TG_TABLE_NAME;
END $$;

CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('events are append-only');

-- One payment intent per invoice, for ever: bound once, never rebound.
CREATE TRIGGER invoices_intent_is_bound_once BEFORE UPDATE OF payment_intent_id ON invoices FOR EACH ROW
    WHEN (OLD.payment_intent_id IS NOT NULL AND NEW.payment_intent_id IS DISTINCT FROM OLD.payment_intent_id)
    EXECUTE FUNCTION refuse_change('an invoice keeps its payment intent for ever');

CREATE TRIGGER invoices_paid_is_final BEFORE UPDATE OF status ON invoices FOR EACH ROW
    WHEN (OLD.status = 'paid' AND NEW.status <> 'paid')
    EXECUTE FUNCTION refuse_change('a paid invoice stays paid');

CREATE TRIGGER invoices_are_kept BEFORE DELETE ON invoices FOR EACH ROW
    EXECUTE FUNCTION refuse_change('invoices are kept for ever');

CREATE TRIGGER payment_attempts_settle_once BEFORE UPDATE ON payment_attempts FOR EACH ROW
    WHEN (OLD.status <> 'open')
    EXECUTE FUNCTION refuse_change('a settled attempt stays as it was settled');

CREATE TRIGGER payment_attempts_are_kept BEFORE DELETE ON payment_attempts FOR EACH ROW
    EXECUTE FUNCTION refuse_change('payment attempts are kept for ever');
