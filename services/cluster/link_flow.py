"""What happens to the bytes that go one way through a link."""

from dataclasses import dataclass

_PIECE_S = 0.02
"""What is sent on a thin line is cut into pieces that take so long, so that connections take turns on it."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The bytes of one direction pass, come `delay_s` late, or are held; at most `bytes_per_s` of them.

    What is held is delivered late and in order, never lost, as TCP would do it. The ends of connections count
    as bytes: who is behind a held direction does not hear of them. The rate is that of the link: everything that
    goes this way through it shares it.
    """

    held: bool = False
    delay_s: float = 0.0
    bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.delay_s < 3600:
            raise ValueError(f"delay_s={self.delay_s}: must be from 0 to 3600")
        if self.bytes_per_s is not None and not self.bytes_per_s >= 1:
            raise ValueError(f"bytes_per_s={self.bytes_per_s}: must be at least 1; to hold everything, cut")

    def piece_bytes(self, size_bytes: int) -> int:
        """How much of something passes at once."""
        if self.bytes_per_s is None:
            return size_bytes
        return min(size_bytes, max(1, int(self.bytes_per_s * _PIECE_S)))


PASSING = Flow()
HELD = Flow(held=True)


class Line:
    """One direction of one link, as something that carries one piece after the other."""

    def __init__(self) -> None:
        self._free_at_s = 0.0

    def carry(self, size_bytes: int, flow: Flow, ready_s: float) -> float:
        """Take a piece that is ready at `ready_s`, when its turn has come; returns when it is through."""
        if flow.bytes_per_s is None:
            return ready_s
        self._free_at_s = max(self._free_at_s, ready_s) + size_bytes / flow.bytes_per_s
        return self._free_at_s

    def clear(self, now_s: float) -> None:
        """Whatever is on the line is off it; nothing that has waited counts as carried meanwhile."""
        self._free_at_s = now_s
