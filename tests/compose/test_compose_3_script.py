"""The chaos script on the stack: it kills, cuts off and judges from inside, and reports take-overs."""

from pathlib import Path

from tests.compose.conftest import Note, Step
from tests.support.compose_stack import Stack

SCENARIOS = ("kill-leader", "partition-etcd", "etcd-kill-member", "postgres-kill")


def test_the_chaos_script_hurts_the_stack_and_every_verdict_holds(
    stack: Stack, step: Step, note: Note, tmp_path: Path
) -> None:
    with step("chaos run --target compose, four scenarios"):
        status, said, report = stack.chaos(",".join(SCENARIOS), tmp_path)
    assert status == 0, said
    assert report["target"] == "compose"
    assert [(each["name"], each["state"]) for each in report["scenarios"]] == [
        (name, "passed") for name in SCENARIOS
    ]
    for scenario in report["scenarios"]:
        assert scenario["verdict"]["holds"]
        numbers = {fault["number"] for fault in scenario["faults"]}
        for takeover in report["timeline"]["takeovers"]:
            if takeover["fault"] in numbers and takeover["first_charge_s"] is not None:
                note(
                    f"{scenario['name']} → the successor's first charge",
                    f"{takeover['first_charge_s']:.2f} s",
                )


def test_the_stack_is_whole_again_after_the_script_and_its_demo_goes_on(stack: Stack) -> None:
    states = {each["State"]["Status"] for each in stack.containers()}
    assert states == {"running"}
    stack.charges_go_on()
    assert stack.verdict()["holds"]
