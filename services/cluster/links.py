"""Links: controllable TCP connections between one replica and what it talks to.

A link listens on a port of its own and forwards to one target. Its mode says what passes, each direction
apart, so that partitions, one-sided ones too, need no root and no firewall:

    replica ──requests──▶ link ──▶ target        PASS, BLACK_HOLE, MUTE (no requests), DEAF (no answers),
            ◀──answers───      ◀──               delayed(…), throttled(…), REFUSE, RESET

`link` is one of them, `link_mode` its modes, `link_pipe` one connection through it, `link_flow` its bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import overload

from cluster.link import Link
from cluster.link_flow import Flow
from cluster.link_mode import BLACK_HOLE, DEAF, MUTE, PASS, REFUSE, RESET, LinkMode, delayed, throttled

__all__ = [
    "BLACK_HOLE",
    "DEAF",
    "MUTE",
    "PASS",
    "REFUSE",
    "RESET",
    "Flow",
    "Link",
    "LinkGroup",
    "LinkMode",
    "ReplicaLinks",
    "delayed",
    "throttled",
]


class LinkGroup:
    """Several links that are cut and healed together; a sequence of them, too."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._links = tuple(links)

    @overload
    def __getitem__(self, index: int) -> Link: ...
    @overload
    def __getitem__(self, index: slice) -> "LinkGroup": ...
    def __getitem__(self, index: int | slice) -> "Link | LinkGroup":
        return LinkGroup(self._links[index]) if isinstance(index, slice) else self._links[index]

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def set_mode(self, mode: LinkMode) -> None:
        """As `Link.set_mode`, for all."""
        self._each(lambda link: link.set_mode(mode))

    def cut(self) -> None:
        """As `Link.cut`, for all."""
        self._each(Link.cut)

    def heal(self) -> None:
        """As `Link.heal`, for all."""
        self._each(Link.heal)

    def reset(self) -> None:
        """As `Link.reset`, for all."""
        self._each(Link.reset)

    def _each(self, act: Callable[[Link], None]) -> None:
        for link in self._links:
            act(link)


@dataclass(frozen=True, slots=True)
class ReplicaLinks:
    """Every way in and out of one replica.

    `etcd` has one link per member, in their order. `peer` is the way *in*: through it others reach the
    replica's operations endpoint and feel its pulse, so that its requests come from them. `processor` is None
    when the cluster charges at Stripe itself.
    """

    etcd: LinkGroup
    postgres: Link
    processor: Link | None
    peer: Link

    @property
    def all(self) -> LinkGroup:
        """All of them, to isolate the replica from everything."""
        processor = (self.processor,) if self.processor is not None else ()
        return LinkGroup((*self.etcd, self.postgres, *processor, self.peer))
