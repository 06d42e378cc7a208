"""The pieces of the test clock: which real instant was which business instant, and how fast it ran."""

from dataclasses import dataclass, field

from chaos.drive.eyes import Eyes
from chaos.judge.promptness import ClockPiece

_PIECE = "SELECT base_real, base_virtual, rate FROM test_clock"


@dataclass(slots=True)
class ClockHistory:
    """Every piece so far, oldest first."""

    pieces: list[ClockPiece] = field(default_factory=list)

    async def note(self, eyes: Eyes) -> None:
        """The clock was set: remember from when on it runs how. Raises `AwayError`."""
        [row] = await eyes.fetch(_PIECE)
        piece = ClockPiece(row["base_real"], row["base_virtual"], row["rate"])
        if not self.pieces or self.pieces[-1] != piece:
            self.pieces.append(piece)
