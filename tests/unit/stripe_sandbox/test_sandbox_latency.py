"""Durations by bucket."""

from stripe_sandbox.latency import BOUNDS_S, Latencies


def test_each_duration_counts_in_its_bucket_and_in_all_larger_ones() -> None:
    latencies = Latencies()
    for took_s in (0.0, BOUNDS_S[0], 0.0007, 60.0):
        latencies.observe(took_s)
    buckets = dict(latencies.cumulative())
    assert (buckets["0.0005"], buckets["0.001"], buckets["30.0"], buckets["+Inf"]) == (2, 3, 3, 4)
    assert latencies.sum_s == 60.0012
