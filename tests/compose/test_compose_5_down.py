"""The last of all: `docker compose down -v`."""

from tests.support.compose_stack import Stack


def test_down_with_its_volumes_leaves_nothing_behind(stack: Stack) -> None:
    assert stack.left_behind()
    stack.down()
    assert stack.left_behind() == []
