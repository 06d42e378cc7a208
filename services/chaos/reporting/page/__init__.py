"""The report as one HTML page that needs nothing but itself.

page          the skeleton, and what it begins with
verdict       the invariants
takeovers     how long nobody charged, as a histogram and by fault
scenarios     what was played, each with its time line
particulars   schedule, workload, machine
table         tables
style         how it looks, for light and dark, wide and narrow
"""
