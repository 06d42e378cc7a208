"""`/v1/leadership` and `/v1/events`: who leads, and what happened."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from middleman.entrypoints.api.answering import Parts, ok
from middleman.entrypoints.api.documentation import reading
from middleman.entrypoints.api.models import EventOut, LeadershipOut, PageOut, ReplicaOut, TermOut
from middleman.entrypoints.api.pagination import PageQuery, next_by_number, number_after, page_document

router = APIRouter(prefix="/v1")

Scope = Annotated[int, Field(ge=0, le=32767, description="The election's scope.")]


class LeadershipQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: Scope = 0


class TermQuery(PageQuery):
    scope: Scope = 0


class EventQuery(PageQuery):
    limit: Annotated[int, Field(ge=1, le=100)] = 100
    order: Literal["oldest_first", "newest_first"] = "oldest_first"
    after_seq: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="Only later events; oldest first only."
    )
    kind: str | None = Field(default=None, pattern=r"^[a-z_]{1,60}\.[a-z_]{1,60}$")
    subject: str | None = Field(default=None, pattern="^[A-Za-z0-9_.-]{1,100}$")

    @model_validator(mode="after")
    def _has_one_beginning(self) -> "EventQuery":
        if self.after_seq is not None and (self.cursor is not None or self.order == "newest_first"):
            raise ValueError("after_seq goes with neither cursor nor order=newest_first")
        return self


@router.get(
    "/leadership",
    operation_id="read_leadership",
    summary="Who leads now, and which replicas there are",
    tags=["leadership"],
    response_model=LeadershipOut,
    responses=reading(),
)
async def read_leadership(parts: Parts, query: Annotated[LeadershipQuery, Query()]) -> Response:
    """The term at the fence, as the database knows it."""
    found = await parts.records.leadership(query.scope)
    return ok(
        LeadershipOut(
            scope=found.scope,
            term=None if found.term is None else TermOut.model_validate(found.term),
            replicas=[ReplicaOut.model_validate(replica) for replica in found.replicas],
        )
    )


@router.get(
    "/leadership/terms",
    operation_id="list_terms",
    summary="List terms",
    tags=["leadership"],
    response_model=PageOut[TermOut],
    responses=reading(),
)
async def list_terms(parts: Parts, query: Annotated[TermQuery, Query()]) -> Response:
    """Newest first."""
    page = await parts.records.terms(query.scope, number_after(query.cursor), query.limit)
    document = page_document(page, TermOut.model_validate, lambda term: next_by_number(term.number))
    return ok(PageOut[TermOut](**document))


@router.get(
    "/events",
    operation_id="list_events",
    summary="List events",
    tags=["events"],
    response_model=PageOut[EventOut],
    responses=reading(),
)
async def list_events(parts: Parts, query: Annotated[EventQuery, Query()]) -> Response:
    """To follow the log, ask for `after_seq` = the `seq` of the last event seen: oldest first, none is ever skipped.

    The order is that of the transactions that wrote the events, so `seq` does not ascend everywhere: keep the last one
    seen, not the highest.
    """
    after = query.after_seq if query.after_seq is not None else number_after(query.cursor)
    newest_first = query.order == "newest_first"
    page = await parts.records.events(
        after, query.limit, newest_first=newest_first, kind=query.kind, subject=query.subject
    )
    document = page_document(page, EventOut.model_validate, lambda event: next_by_number(event.seq))
    return ok(PageOut[EventOut](**document))
