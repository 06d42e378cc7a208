"""`middleman chaos run`: plays scenarios on a system that works, and asks the judge after each.

plan        which scenarios, with which seed
steady      when a scenario may begin
clock       the pieces of the test clock, for the judge's question of promptness
performance one scenario: play it, heal, come to rest, judge
runner      all of them on one target, with the workload beside
show        from the first server's start to the report
"""
