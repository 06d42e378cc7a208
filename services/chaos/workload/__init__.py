"""What goes on while the system is hurt: clients come, cancel and look, and charges fall due all the time.

population   who comes, on which plan
sending      one request until its answer is definite: again under the same key, at another instance
book         what was asked for, and what of it was acknowledged
clients      what a client does
findings     whether every acknowledged write is there exactly once
workload     all of it, as a run gets it
"""
