"""Starts a cluster, performs the scenario on it and shows it: live on a terminal, in lines elsewhere."""

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from chaos.demo import plain
from chaos.demo.figures import ACTING, Figures
from chaos.demo.scenario import Scenario
from chaos.demo.stage import Outcome, perform
from chaos.demo.view import frame
from chaos.interruption import interruptible
from cluster.cluster import Cluster
from cluster.spec import ClusterSpec

FRAME_INTERVAL_S = 0.25
LINE_INTERVAL_S = 1.0
PICTURE_WIDTH, PICTURE_HEIGHT = 96, 24
# Rich names a font on the web; a picture in a repository should load nothing.
_WEB_FONT = re.compile(r"@font-face \{[^}]*\}\s*")


async def show(
    spec: ClusterSpec, scenario: Scenario, console: Console, *, picture: Path | None = None
) -> Outcome:
    """Everything from the first server's start to the verdict; raises what `Cluster` and `perform` raise.

    Ctrl-C or SIGTERM ends the run and goes on to the verdict; a second one, or one before the servers
    are up, gives up with `CancelledError`. `picture` gets the last live frame as SVG.
    """
    figures = Figures(scenario.subscribers)
    stop = asyncio.Event()
    snapshots = _Snapshots() if picture is not None else None
    with interruptible(stop) as allow_rest:
        async with _drawn(figures, console), Cluster(spec, progress=figures.progress.append) as cluster:
            allow_rest()
            outcome = await perform(
                cluster,
                scenario,
                stop=stop,
                figures=figures,
                on_look=lambda: snapshots.take(figures) if snapshots is not None else None,
            )
            figures.phase = "stopping the servers"
    if picture is not None and snapshots is not None:
        snapshots.save(picture)
    return outcome


@contextlib.asynccontextmanager
async def _drawn(figures: Figures, console: Console) -> AsyncIterator[None]:
    """Draw or tell the figures beside the body, from its own event loop: nobody draws a half-written one."""
    drawing = asyncio.create_task(_draw(figures, console) if console.is_terminal else _tell(figures))
    try:
        yield
    finally:
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)


async def _draw(figures: Figures, console: Console) -> None:
    began_s = time.monotonic()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            figures.elapsed_s = time.monotonic() - began_s
            live.update(frame(figures), refresh=True)
            await asyncio.sleep(FRAME_INTERVAL_S)


async def _tell(figures: Figures) -> None:
    began_s = time.monotonic()
    while True:
        figures.elapsed_s = time.monotonic() - began_s
        print(plain.line(figures), file=sys.stderr, flush=True)
        await asyncio.sleep(LINE_INTERVAL_S)


class _Snapshots:
    """Keeps the last frame that shows a leader at work, for the picture."""

    def __init__(self) -> None:
        self._console: Console | None = None

    def take(self, figures: Figures) -> None:
        """Draw the figures, if they are worth it."""
        if figures.leader is None or figures.phase != ACTING:
            return
        with open("/dev/null", "w") as nowhere:
            self._console = Console(
                record=True,
                file=nowhere,
                force_terminal=True,
                color_system="truecolor",
                width=PICTURE_WIDTH,
                height=PICTURE_HEIGHT,
            )
            self._console.print(frame(figures))

    def save(self, path: Path) -> None:
        """Write the kept frame as SVG."""
        if self._console is not None:
            picture = self._console.export_svg(title="middleman demo")
            path.write_text(_WEB_FONT.sub("", picture), encoding="utf-8")
