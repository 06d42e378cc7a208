"""Who leads raft, asked over etcd's JSON gateway."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import httpx

from cluster.health import http_client
from cluster.process import ManagedProcess

_STATUS_TIMEOUT_S = 0.5

Member = TypeVar("Member", bound=ManagedProcess)


@dataclass(frozen=True, slots=True)
class _RaftStatus:
    member_id: int
    leader_id: int
    raft_term: int


async def find_raft_leader(members: Sequence[Member]) -> Member | None:
    """Asks every member once; the one that leads, or None while there is none.

    A majority must agree: a deposed leader, just thawed, still believes in itself.
    """
    async with http_client(_STATUS_TIMEOUT_S) as client:
        answers = await asyncio.gather(*(_ask(client, member) for member in members))
    statuses = {member: answer for member, answer in zip(members, answers, strict=True) if answer is not None}
    if not statuses:
        return None
    leader_id = max(statuses.values(), key=lambda status: status.raft_term).leader_id
    agreeing = [status for status in statuses.values() if status.leader_id == leader_id]
    if leader_id == 0 or len(agreeing) * 2 <= len(members):
        return None
    return next((member for member, status in statuses.items() if status.member_id == leader_id), None)


async def _ask(client: httpx.AsyncClient, member: ManagedProcess) -> _RaftStatus | None:
    """None when the member does not answer in time; zeros are left out of etcd's JSON."""
    if not member.is_running or member.is_paused:
        return None
    try:
        reply = await client.post(f"{member.url}/v3/maintenance/status", json={})
        reply.raise_for_status()
    except httpx.HTTPError:
        return None
    body = reply.json()
    return _RaftStatus(
        member_id=int(body["header"]["member_id"]),
        leader_id=int(body.get("leader", 0)),
        raft_term=int(body.get("raftTerm", 0)),
    )
