"""A member of a cluster: one real process with a port, a log, and someone who may kill it."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Self

from cluster.errors import ClusterError, StartError
from cluster.leashed import Command, LeashedRun, launch
from cluster.logs import size_of, tail

_POLL_START_S = 0.02
_POLL_GROWTH = 1.4
_POLL_MAX_S = 0.25
_PROBE_TIMEOUT_S = 2.0
_KILL_TIMEOUT_S = 10.0
_LOG_TAIL_LINES = 15
_MAX_BURST_S = 60.0


class ManagedProcess:
    """A process that can be started, stopped, killed, frozen, and started again on the same port and data.

    `start` returns when the member is ready, `launch` as soon as it runs. Signals go to the real
    process, not to its leash. Methods that end it return when its whole tree is gone.
    """

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        command: Callable[[], Command],
        log_path: Path,
        probe: Callable[[], Awaitable[bool]],
        port: int | None = None,
        url: str = "",
        stop_timeout_s: float = 10.0,
        ready_timeout_s: float = 30.0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`probe` answers whether the member is ready; `command` is asked anew at every launch.

        `on_change` is called whenever the member has been started or has ended, for whatever reason.
        `stop_timeout_s` after SIGTERM comes SIGKILL.
        """
        self.name = name
        self.kind = kind
        self.log_path = log_path
        self.port = port
        self.url = url
        self.stop_timeout_s = stop_timeout_s
        self.ready_timeout_s = ready_timeout_s
        self.on_change = on_change
        self._command = command
        self._probe = probe
        self._run: LeashedRun | None = None
        self._paused = False
        self._stuttering: asyncio.Task[None] | None = None
        self._log_start = 0
        self._launching = asyncio.Lock()

    def __repr__(self) -> str:
        state = "paused" if self._paused else f"pid {self.pid}" if self.is_running else "down"
        return f"<{self.kind} {self.name} {state}>"

    @property
    def pid(self) -> int | None:
        """The pid of the real process while it runs."""
        return self._run.pid if self._run is not None and self._run.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._run is not None and self._run.is_running

    @property
    def is_paused(self) -> bool:
        return self._paused and self.is_running

    @property
    def exit_code(self) -> int | None:
        """Of the last run, negative for a signal; None while it runs or when it never ran."""
        return self._run.exit_code if self._run is not None else None

    async def launch(self) -> None:
        """Starts the process without waiting for readiness; nothing happens when it runs already."""
        async with self._launching:
            if self.is_running:
                return
            self._paused = False
            await self._prepare()
            self._log_start = size_of(self.log_path)
            self._run = await launch(self.name, self._command(), self.log_path)
            self._run.add_exit_callback(lambda: self.on_change())
            self.on_change()

    async def start(self, timeout_s: float | None = None) -> Self:
        """Starts the process and waits until it is ready; raises `StartError`."""
        await self.launch()
        await self.wait_ready(timeout_s)
        return self

    async def wait_ready(self, timeout_s: float | None = None) -> None:
        """Polls the readiness probe; raises `StartError` when the process dies or the time is up."""
        bound_s = self.ready_timeout_s if timeout_s is None else timeout_s
        pause_s = _POLL_START_S
        try:
            async with asyncio.timeout(bound_s):
                while not await self.is_ready():
                    if not self.is_running:
                        raise StartError(self._death_notice())
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * _POLL_GROWTH, _POLL_MAX_S)
        except TimeoutError:
            raise StartError(
                f"{self.name} (pid {self.pid}) was not ready within {bound_s:g} s; "
                f"its log {self.log_path} ends with:\n{self.log_tail()}"
            ) from None

    async def is_ready(self) -> bool:
        """Asks the readiness probe once; a probe that does not answer in time counts as no."""
        if not self.is_running:
            return False
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                return await self._probe()
        except TimeoutError:
            return False

    async def stop(self, *, graceful: bool = True) -> int | None:
        """SIGTERM, after `stop_timeout_s` SIGKILL; at once SIGKILL unless graceful. The exit code."""
        return await self._end(signal.SIGTERM if graceful else signal.SIGKILL)

    async def kill(self) -> int | None:
        """SIGKILL, as sudden as a crash; returns the exit code once the whole tree is gone."""
        return await self._end(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends any signal to the real process and does not wait."""
        if self._run is not None:
            self._run.send_signal(number)

    def pause(self) -> None:
        """Freezes the process and its descendants (SIGSTOP) until `resume`."""
        if self._run is not None and self._run.is_running:
            self._run.send_signal_to_tree(signal.SIGSTOP)
            self._paused = True

    def resume(self) -> None:
        """Lets a frozen process and its descendants go on (SIGCONT); ends a stutter, too."""
        if self._stuttering is not None:
            self._stuttering.cancel()
        self._thaw()

    @contextlib.asynccontextmanager
    async def stutter(self, *, stop_s: float, run_s: float) -> AsyncIterator[None]:
        """Inside, the process is frozen for `stop_s`, runs for `run_s`, and so on: a machine short of breath.

        It goes on at the end of the block, and before that when someone calls `resume`. A process that is started
        anew meanwhile stutters as well. Raises `ValueError` for bursts that are not above 0 and at most 60 s.
        """
        for name, value in (("stop_s", stop_s), ("run_s", run_s)):
            if not 0 < value <= _MAX_BURST_S:
                raise ValueError(f"{name}={value}: must be above 0 and at most {_MAX_BURST_S:g}")
        if self._stuttering is not None:
            raise ClusterError(f"{self.name} stutters already: leave that block first")
        self._stuttering = asyncio.create_task(self._stop_and_go(stop_s, run_s))
        try:
            yield
        finally:
            self.resume()
            self._stuttering = None

    async def restart(self, *, graceful: bool = True, timeout_s: float | None = None) -> None:
        """Stops the process if it runs, and starts it on the same port and data; returns when it is ready."""
        await self.stop(graceful=graceful)
        await self.start(timeout_s)

    async def wait_exit(self, timeout_s: float | None = None) -> int | None:
        """Waits until the process and its descendants are gone; raises `TimeoutError`. The exit code."""
        if self._run is None:
            return None
        async with asyncio.timeout(timeout_s):
            return await self._run.wait_exit()

    def log_tail(self, lines: int = _LOG_TAIL_LINES) -> str:
        """The last lines that the member logged since its latest start."""
        return tail(self.log_path, self._log_start, lines)

    async def _stop_and_go(self, stop_s: float, run_s: float) -> None:
        while True:
            self.pause()
            await asyncio.sleep(stop_s)
            self._thaw()
            await asyncio.sleep(run_s)

    def _thaw(self) -> None:
        if self._run is not None and self._run.is_running:
            self._run.send_signal_to_tree(signal.SIGCONT)
        self._paused = False

    async def _prepare(self) -> None:
        """What a kind of member does before each launch; nothing by default."""

    async def _end(self, number: signal.Signals) -> int | None:
        run = self._run
        if run is None or not run.is_running:
            return self.exit_code
        run.send_signal(number)
        if self._paused and number is not signal.SIGKILL:
            self.resume()  # a frozen process cannot hear anything else
        try:
            async with asyncio.timeout(self.stop_timeout_s):
                code = await run.wait_exit()
        except TimeoutError:
            run.send_signal(signal.SIGKILL)
            code = await self._wait_killed(run)
        return code

    async def _wait_killed(self, run: LeashedRun) -> int:
        try:
            async with asyncio.timeout(_KILL_TIMEOUT_S):
                return await run.wait_exit()
        except TimeoutError:
            raise ClusterError(
                f"{self.name} (pid {run.pid}) is still there {_KILL_TIMEOUT_S:g} s after SIGKILL: "
                "it hangs in the kernel, most likely on a disk; look at `dmesg`"
            ) from None

    def _death_notice(self) -> str:
        return (
            f"{self.name} died while starting, exit code {self.exit_code}; "
            f"its log {self.log_path} ends with:\n{self.log_tail()}"
        )
