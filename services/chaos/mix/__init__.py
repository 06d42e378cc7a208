"""The random mix: a schedule drawn from the seed beforehand, and its performance, faults overlapping.

schedule   draws it: which fault, on whom, from when, for how long; a pure function of the seed
faults     every kind of fault that the mix knows
play       strikes each at its instant
"""
