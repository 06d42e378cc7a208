"""What a scenario holds in its hands: a system that may be hurt, eyes to see it, and a record of both.

access   where the system can be reached, and with which keys
target   the verbs by which it is hurt: a protocol; `local` is the cluster on this machine, `compose` a running stack
eyes     what can be seen from outside: the database, the replicas' endpoints, their logs
record   every fault and every observation, with its instant
stage    all of it, as a scenario gets it
"""
