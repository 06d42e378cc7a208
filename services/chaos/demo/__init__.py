"""The demo: subscribers come in, leaders die, and the judge has the last word.

It drives a cluster from outside, as a user and as an adversary would: subscriptions over the REST API,
SIGKILL to processes, and what it shows is read over SQL with the judge's role.

    scenario    what is to happen                    figures    what is seen, to be drawn
    population  who subscribes to what (seeded)      observer   reads it from the database
    crowd       creates them over REST               view       draws it on a terminal
    adversary   kills the leader, restarts the dead  plain      tells it in lines
                            stage: runs all of it and asks the judge
"""
