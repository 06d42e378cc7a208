"""What the failure of an RPC means for us."""

from __future__ import annotations

import asyncio
from enum import Enum, auto

import grpc

RPC_ERRORS: tuple[type[BaseException], ...] = (grpc.aio.AioRpcError, asyncio.InvalidStateError)
"""How an RPC fails. The second comes from writing to a stream that has already ended."""


class LeaseNotFound(Exception):
    """etcd does not know the lease, or no longer."""


class Fault(Enum):
    """What to do about a failed RPC."""

    RETRY = auto()
    """This member or the cluster cannot answer now; another try may succeed."""
    AUTHENTICATE = auto()
    """Our token is missing, expired, or older than the cluster's user database."""
    LEASE_NOT_FOUND = auto()
    """The lease that was named is gone."""
    REFUSED = auto()
    """Waiting does not cure it: wrong credentials, missing rights, or no etcd at all."""


_CODE = grpc.StatusCode
_REFUSALS = {_CODE.PERMISSION_DENIED, _CODE.UNIMPLEMENTED, _CODE.INVALID_ARGUMENT, _CODE.FAILED_PRECONDITION}
# etcd says these with various status codes, depending on its version.
_TOKEN_COMPLAINTS = ("auth store is old", "user name is empty", "invalid auth token")


def classify(error: BaseException) -> Fault:
    """Sort one of `RPC_ERRORS`."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return Fault.RETRY
    code, details = error.code(), error.details() or ""
    if code is _CODE.UNAUTHENTICATED or any(complaint in details for complaint in _TOKEN_COMPLAINTS):
        return Fault.AUTHENTICATE
    if code is _CODE.NOT_FOUND and "lease not found" in details:
        return Fault.LEASE_NOT_FOUND
    return Fault.REFUSED if code in _REFUSALS else Fault.RETRY


def describe(error: BaseException) -> str:
    """One line for a human, without gRPC's debug dump."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details() or 'no details'}"
    return f"{type(error).__name__}: {error}"


def is_deadline(error: BaseException) -> bool:
    """Whether the RPC lasted as long as it was allowed to."""
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is _CODE.DEADLINE_EXCEEDED
