"""What a spec refuses, and whose environment wins."""

from pathlib import Path
from typing import Any

import pytest

from cluster.spec import ClusterSpec


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"replicas": -1}, "replicas=-1: must be at least 0"),
        ({"etcd_members": 0}, "etcd_members=0: must be at least 1"),
        ({"lease_ttl_s": 0}, "lease_ttl_s=0: must be at least 1"),
        ({"stripe_api_key": "sk_test_x"}, "leave it out, or set with_sandbox=False"),
        ({"with_sandbox": False}, "needs stripe_api_key=sk_test_"),
        ({"webhooks": True, "apis": 0}, "webhooks=True needs the sandbox"),
        ({"webhooks": True, "with_sandbox": False, "stripe_api_key": "sk_test_x"}, "needs the sandbox"),
    ],
)
def test_a_spec_that_cannot_work_is_refused_with_what_to_change(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterSpec(data_dir=Path("x"), **wrong)


def test_the_environment_of_a_name_wins_over_that_of_its_kind() -> None:
    spec = ClusterSpec(
        data_dir=Path("x"), extra_env={"replica": {"A": "kind", "B": "kind"}, "replica-2": {"A": "name"}}
    )
    assert spec.env_for("replica", "replica-1") == {"A": "kind", "B": "kind"}
    assert spec.env_for("replica", "replica-2") == {"A": "name", "B": "kind"}
    assert spec.env_for("api", "api-1") == {}
