"""The Coordinator on etcd, built on generated stubs over ``grpc.aio`` alone.

Small files, each with one job, bottom up::

    config       where the members are and how to be let in
    faults       what an RPC's failure means
    identity     which cluster is ours, and which endpoints are not of it
    members      one channel per member; a call that a hung member cannot delay; authentication
    lease        grant, renew by majority, revoke; the trust window
    election     the key: create if absent, read
    watch        notice at once that the key was deleted
    candidacy    one lease and one election from entering to losing
    coordinator  the port

The high-level clients that were tried, ``etcd3``'s own among them, hang when a member freezes, which
is why none is used (DESIGN §6).
"""

from middleman.adapters.etcd.config import EtcdConfig, EtcdTls
from middleman.adapters.etcd.coordinator import EtcdCoordinator

__all__ = ["EtcdConfig", "EtcdCoordinator", "EtcdTls"]
