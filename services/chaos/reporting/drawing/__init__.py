"""The time line as SVG: bands one below the other over one axis of time.

frame     where an instant lies on the page, and where ticks go
packing   which label fits where
lanes     who led: a lane per replica, a bar per term
faults    what was done to the system
strip     scenarios, and the stretches without a charge
charges   charges per second, by term
picture   all of them together, with axis and legend
style     colours, for light and dark
"""
