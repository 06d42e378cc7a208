"""`middleman chaos failover`: how long nobody charges when a leader is lost, measured again and again.

Each run waits until the cluster is steady, notes the wall clock, strikes the leader, and reads from the event
log of the database when the successor settled its first attempt. What happened in between is read from the
replicas' logs. All of it is on one machine, so that the clocks are one clock.

    plan      what is to be measured            workload  what falls due all the time
    steady    when a run may begin              faults    what is done to the leader, and undone
    drill     one run                           timeline  its stages, from database and logs
    spread    minimum, median, p99, maximum     report    for people and as JSON
                       show: runs all of it and asks the judge
"""
