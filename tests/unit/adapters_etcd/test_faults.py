"""What the words of etcd mean, in every version that is supported."""

import grpc
import pytest

from middleman.adapters.etcd.faults import Fault, classify

CODE = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (CODE.UNKNOWN, "auth: revision in header is old"),  # 3.4, and 3.5 up to 3.5.1
        (CODE.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"),  # later
        (CODE.INVALID_ARGUMENT, "etcdserver: user name is empty"),
        (CODE.UNKNOWN, "auth: user name is empty"),
        (CODE.UNAUTHENTICATED, "etcdserver: invalid auth token"),
        (CODE.UNKNOWN, "auth: invalid auth token"),
    ],
)
def test_a_stale_or_missing_token_is_cured_by_authentication(code: grpc.StatusCode, details: str) -> None:
    assert classify(_error(code, details)) is Fault.AUTHENTICATE


@pytest.mark.parametrize(
    ("code", "details", "fault"),
    [
        (CODE.NOT_FOUND, "etcdserver: requested lease not found", Fault.LEASE_NOT_FOUND),
        (CODE.PERMISSION_DENIED, "etcdserver: permission denied", Fault.REFUSED),
        (CODE.UNAVAILABLE, "etcdserver: no leader", Fault.RETRY),
        (CODE.UNKNOWN, "anything else", Fault.RETRY),
    ],
)
def test_other_failures_are_not_taken_for_a_stale_token(
    code: grpc.StatusCode, details: str, fault: Fault
) -> None:
    assert classify(_error(code, details)) is fault


def _error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
