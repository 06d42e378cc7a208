"""Can the judge say no? Every link of the safety chain is cut once, on purpose, and it has to see each cut.

control     what is done wrong, which invariants it must break, and its right twin
world       a cluster of its own, with everything that a control needs to hurt it; sight: what can be seen of it
builds      replicas that are wrong on purpose, each in the situation that it cannot bear
late        nobody charges for too long, and no fault is declared that would explain it
doctored    books and processor's ledger that were tampered with
proving     plays every control and its twin
proof       what came of it, for scripts; table for people
show        the command

The twin is what makes a red verdict mean something: the same situation with the right build, the fault declared, or
the books untouched, has to stay green.
"""
