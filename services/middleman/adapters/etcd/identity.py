"""Which cluster is ours: the one that a majority of the configured endpoints belong to.

Every answer of etcd names its cluster. An endpoint may still lead to another one: a typing error, a name that moved, a
member that was wiped and started alone. Such a member answers at once and knows neither our lease nor our key, so a
single one of them would end every term. Its answers count for nothing, good or bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import structlog

log = structlog.get_logger(__name__)


class Identity:
    """What each endpoint said last about its cluster, and which cluster is ours by majority."""

    def __init__(self, endpoints: Sequence[str], majority: int, show_foreign: Callable[[int], None]) -> None:
        """``show_foreign`` is called with the number of foreign endpoints whenever it changes."""
        self._seen: dict[str, int] = {}
        self._endpoints = tuple(endpoints)
        self._majority = majority
        self._show_foreign = show_foreign
        self._foreign: frozenset[str] = frozenset()
        self.cluster_id: int | None = None
        """None until a majority of the endpoints has named the same cluster."""

    def saw(self, endpoint: str, cluster_id: int) -> None:
        """``endpoint`` answered for this cluster."""
        if self._seen.get(endpoint) == cluster_id:
            return
        self._seen[endpoint] = cluster_id
        most_named, times = Counter(self._seen.values()).most_common(1)[0]
        if times >= self._majority and most_named != self.cluster_id:
            if self.cluster_id is not None:
                log.warning("etcd.cluster_replaced", before=f"{self.cluster_id:x}", now=f"{most_named:x}")
            self.cluster_id = most_named
        if self.cluster_id is not None:
            self._compare(self.cluster_id)

    def is_known(self, endpoint: str) -> bool:
        """Whether ``endpoint`` has answered at all."""
        return endpoint in self._seen

    def is_foreign(self, endpoint: str) -> bool:
        """Whether ``endpoint`` belongs to another cluster. False as long as nobody can tell."""
        return endpoint in self._foreign

    def contradiction(self) -> str | None:
        """Why no cluster can be ours: every endpoint has answered, and no majority agrees. Else None."""
        if self.cluster_id is not None or len(self._seen) < len(self._endpoints):
            return None
        named = ", ".join(f"{endpoint}: {self._seen[endpoint]:x}" for endpoint in self._endpoints)
        return (
            f"etcd's endpoints belong to different clusters and no majority to one ({named}): "
            "list the members of one cluster"
        )

    def _compare(self, ours: int) -> None:
        foreign = frozenset(endpoint for endpoint, named in self._seen.items() if named != ours)
        if foreign == self._foreign:
            return
        for endpoint in sorted(foreign - self._foreign):
            log.error(
                "etcd.member_foreign",
                member=endpoint,
                cluster=f"{self._seen[endpoint]:x}",
                ours=f"{ours:x}",
                reason="this endpoint belongs to another etcd cluster and is left out: correct "
                "MIDDLEMAN_ETCD_ENDPOINTS, or let this member join the cluster",
            )
        for endpoint in sorted(self._foreign - foreign):
            log.info("etcd.member_returned", member=endpoint, ours=f"{ours:x}")
        self._foreign = foreign
        self._show_foreign(len(foreign))
