"""What the workload has done so far."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Figures:
    """Counters; `repeated` counts tries after the first, `elsewhere` those of them at another instance.

    `refused` counts definite refusals (4xx), `gave_up` requests whose answer stayed away too long.
    """

    created: int = 0
    subscribed: int = 0
    canceled: int = 0
    ended: int = 0
    read: int = 0
    listed: int = 0
    repeated: int = 0
    elsewhere: int = 0
    replayed: int = 0
    refused: int = 0
    gave_up: int = 0

    def to_json(self) -> dict[str, int]:
        """Plain values."""
        return asdict(self)
