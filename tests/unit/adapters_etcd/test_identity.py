"""Which cluster is ours, and which endpoints do not belong to it."""

from structlog.testing import capture_logs

from middleman.adapters.etcd.identity import Identity

OURS, OTHER = 0xAA, 0xBB


def _identity(shown: list[int] | None = None) -> Identity:
    return Identity(("a:1", "b:1", "c:1"), 2, (shown if shown is not None else []).append)


def test_no_cluster_is_ours_before_a_majority_has_named_it() -> None:
    identity = _identity()
    identity.saw("a:1", OTHER)
    assert identity.cluster_id is None
    identity.saw("b:1", OURS)
    assert identity.cluster_id is None
    identity.saw("c:1", OURS)
    assert identity.cluster_id == OURS
    assert identity.is_foreign("a:1")
    assert not identity.is_foreign("b:1")


def test_a_foreign_endpoint_is_shown_once_and_its_return_too() -> None:
    shown: list[int] = []
    identity = _identity(shown)
    with capture_logs() as logs:
        for _ in range(3):
            for endpoint, named in (("a:1", OURS), ("b:1", OURS), ("c:1", OTHER)):
                identity.saw(endpoint, named)
        identity.saw("c:1", OURS)
    assert shown == [1, 0]
    assert [log["event"] for log in logs] == ["etcd.member_foreign", "etcd.member_returned"]
    assert "MIDDLEMAN_ETCD_ENDPOINTS" in logs[0]["reason"]


def test_a_cluster_that_was_replaced_is_ours_once_a_majority_leads_to_the_new_one() -> None:
    identity = _identity()
    for endpoint in ("a:1", "b:1", "c:1"):
        identity.saw(endpoint, OURS)
    identity.saw("a:1", OTHER)
    assert identity.cluster_id == OURS
    identity.saw("b:1", OTHER)
    assert identity.cluster_id == OTHER
    assert identity.is_foreign("c:1")


def test_three_endpoints_of_three_clusters_contradict_each_other_once_all_have_answered() -> None:
    identity = _identity()
    identity.saw("a:1", 1)
    identity.saw("b:1", 2)
    assert identity.contradiction() is None
    identity.saw("c:1", 3)
    assert "a:1: 1, b:1: 2, c:1: 3" in str(identity.contradiction())
