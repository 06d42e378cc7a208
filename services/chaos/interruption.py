"""Ctrl-C and SIGTERM to a long run: the first asks it to come to its end, the second gives it up."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interruptible(stop: asyncio.Event) -> Iterator[Callable[[], None]]:
    """First ask to stop, then cancel; while nothing runs yet, cancel at once. Yields what to call once it does."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None  # we run inside a task
    running = False

    def on_signal() -> None:
        if running and not stop.is_set():
            stop.set()
        else:
            task.cancel()

    def allow_rest() -> None:
        nonlocal running
        running = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield allow_rest
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
