"""The judge: was every due period charged exactly once?

It reads two things and trusts neither alone: the processor's ledger (over the processor's own audit
endpoint) and the books (Middleman's database, over SQL, as a role that can only read). Each invariant of
the design is one small function `(Ledger, Books) -> InvariantResult`. Whether charges were in time (I8)
can be told only with what a run knows of its faults and of the test clock: `promptness`. The judge shares
no code with the product: period boundaries and the processor's amounts are computed again, in another
way, here.

The order of reading matters on a running system. The ledger comes first, the books after it, so that
the dangerous findings are strict: an intent that was paid when the ledger was read must be bound in
books read later, because binding comes before money. What the books settled after the ledger was read
is told apart by the database's clock, taken before either, and counts as pending.
"""
