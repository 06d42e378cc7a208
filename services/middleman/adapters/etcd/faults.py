"""What the failure of an RPC means for us."""

from __future__ import annotations

import asyncio
from enum import Enum, auto

import grpc


class ForeignMember(Exception):
    """The answer came from a member of another cluster, or from one whose cluster is not known yet."""


class LeaseNotFound(Exception):
    """etcd does not know the lease, or no longer."""


RPC_ERRORS: tuple[type[BaseException], ...] = (
    grpc.aio.AioRpcError,
    asyncio.InvalidStateError,
    ForeignMember,
)
"""How an RPC fails. The second comes from writing to a stream that has already ended."""


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
# etcd says these with various status codes, depending on its version: up to 3.4 and 3.5.1 it passes an error of its
# package auth on as it is ("auth: revision in header is old", UNKNOWN), later ones translate it ("etcdserver: revision
# of auth store is old", INVALID_ARGUMENT). See auth/store.go and api/v3rpc/rpctypes/error.go of etcd.
_TOKEN_COMPLAINTS = (
    "revision in header is old",
    "auth store is old",
    "user name is empty",
    "invalid auth token",
)


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
    if isinstance(error, ForeignMember):
        return str(error)
    return f"{type(error).__name__}: {error}"


def is_deadline(error: BaseException) -> bool:
    """Whether the RPC lasted as long as it was allowed to."""
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is _CODE.DEADLINE_EXCEEDED
