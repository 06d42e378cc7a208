"""Links in the words of the coordinator's contract: a network between one client and one server."""

from cluster.links import BLACK_HOLE, DEAF, PASS, Link
from tests.support.fake_coordinator import LinkMode

_MODES = {LinkMode.OPEN: PASS, LinkMode.BLOCKED: BLACK_HOLE, LinkMode.DEAF: DEAF}


class Relay:
    """Forwards every connection to ``target``. Held bytes are delivered late, not lost."""

    def __init__(self, target: str) -> None:
        self._link = Link("relay", target)

    async def start(self) -> str:
        """Listen on a free port; the endpoint as ``host:port``."""
        self._link.start()
        return self._link.endpoint

    def set_mode(self, mode: LinkMode) -> None:
        """What passes from now on."""
        self._link.set_mode(_MODES[mode])

    def move_to(self, target: str) -> None:
        """The name leads elsewhere from now on, and what stood is reset."""
        self._link.lead_to(target)
        self._link.reset()

    async def close(self) -> None:
        """Close every connection."""
        await self._link.close()
