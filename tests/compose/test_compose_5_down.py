"""The last of all: `docker compose down -v`."""

from tests.compose.conftest import Step
from tests.support.compose_stack import Stack


def test_down_with_its_volumes_leaves_nothing_behind(stack: Stack, step: Step) -> None:
    assert stack.left_behind()
    with step("down -v"):
        stack.down()
    assert stack.left_behind() == []
