-- The REST API's lists: each filter on an index, in the order of the list -------------------------------
--
-- What is rare is indexed alone: a charge that succeeds at once, as nearly all do, writes none of these entries, but
-- for its invoice while that is open. What is common is found soon by walking back from the newest.

-- Everything about one invoice, attempt or subscription, and everything of a kind: the log grows by three rows a charge.
CREATE INDEX events_of_subject ON events (subject, seq);
CREATE INDEX events_of_kind ON events (kind, seq);

CREATE INDEX invoices_by_status ON invoices (status, created_at, id) WHERE status <> 'paid';

-- The open ones have an index already.
CREATE INDEX payment_attempts_by_status ON payment_attempts (status, created_at, id)
    WHERE status IN ('declined', 'requires_action', 'canceled');

CREATE INDEX subscriptions_past_due ON subscriptions (id) WHERE status = 'past_due';
-- To a caller it is canceled as soon as its end has passed, which the leader records a moment later.
CREATE INDEX subscriptions_with_an_end ON subscriptions (id) WHERE ends_at IS NOT NULL;
