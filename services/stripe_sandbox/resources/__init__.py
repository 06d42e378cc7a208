"""Stripe's resources: for each, its operations and its JSON.

An operation takes the world, the ids in its path and its checked parameters, changes the world and gives the JSON
document of the answer; whatever must be refused is refused before the first change.
"""
