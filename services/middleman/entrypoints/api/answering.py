"""From values to HTTP responses, and from requests to tickets."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from middleman.billing.once import Render
from middleman.bootstrap.api import ApiParts
from middleman.entrypoints.api import problems
from middleman.entrypoints.api.canonical import canonical
from middleman.ports.once import Answer, Ticket

T = TypeVar("T")
JSON = "application/json"

# Dependencies are coroutines even where they wait for nothing: FastAPI sends plain functions through a thread.


async def get_parts(request: Request) -> ApiParts:
    """What the app was assembled from."""
    parts: ApiParts = request.app.state.parts
    return parts


async def ticket_of(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="Makes the request safe to repeat: the same key with the same body has one effect and one"
            " answer, for at least 24 hours, per API key. Choose a random one per intended effect.",
            examples=["4f0c1e8e-5f2b-4a8b-9d0e-0d6b0c1b7a55"],
        ),
    ] = None,
) -> Ticket | None:
    """The caller's name for this request, None when it has none."""
    if idempotency_key is None:
        return None
    asked = request.method.encode(), request.url.path.encode()
    body: bytes = request.state.body
    return Ticket(
        request.state.caller.api_key_id,
        idempotency_key,
        request_sha256=hashlib.sha256(b"\0".join((*asked, body))).digest(),
        canonical_sha256=hashlib.sha256(b"\0".join((b"json", *asked, canonical(body)))).digest(),
    )


Parts = Annotated[ApiParts, Depends(get_parts)]
MaybeTicket = Annotated[Ticket | None, Depends(ticket_of)]


def rendering(status: int, document: Callable[[T], BaseModel]) -> Render[T]:
    """Renders results of a use case as answers with `status`."""
    return lambda value: Answer(status, _bytes(document(value)))


def reply(answer: Answer) -> Response:
    """An answer, given for the first time or again."""
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    media_type = JSON if answer.status < 400 else problems.MEDIA_TYPE
    return Response(answer.body, answer.status, headers, media_type)


def ok(document: BaseModel) -> Response:
    """200 with a document."""
    return Response(_bytes(document), media_type=JSON)


def _bytes(document: BaseModel) -> bytes:
    serialized: bytes = document.__pydantic_serializer__.to_json(document)
    return serialized


def example_of(**fields: Any) -> dict[str, Any]:
    """OpenAPI's way of giving one example of a request body."""
    return {"default": {"value": fields}}
