"""What came of the controls: for scripts as JSON, for people as a table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

INVARIANTS = frozenset(f"I{number}" for number in range(1, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One control and its twin. `caught_by` has a finding of each invariant that went red; `trouble` is why not."""

    name: str
    what: str
    breaks: tuple[str, ...]
    caught_by: Mapping[str, str]
    twin_holds: bool
    trouble: str
    took_s: float

    @property
    def holds(self) -> bool:
        """Whether the wrong went red where it had to, and the right stayed green."""
        return not self.trouble and self.twin_holds and set(self.breaks) <= set(self.caught_by)


@dataclass(frozen=True, slots=True)
class Proofs:
    """All of them."""

    proofs: tuple[Proof, ...]
    took_s: float

    @property
    def never_red(self) -> tuple[str, ...]:
        """Invariants that no control has turned red."""
        return tuple(sorted(INVARIANTS - {name for proof in self.proofs for name in proof.caught_by}))

    @property
    def holds(self) -> bool:
        """Whether each control was proved, and each invariant has said no at least once."""
        return all(proof.holds for proof in self.proofs) and not self.never_red

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "holds": self.holds,
            "never_red": list(self.never_red),
            "took_s": round(self.took_s, 1),
            "controls": [asdict(proof) | {"holds": proof.holds} for proof in self.proofs],
        }


def table(proofs: Proofs) -> RenderableType:
    """Three lines for each control: what caught it, what was done wrong, one finding."""
    lines: list[RenderableType] = [line for proof in proofs.proofs for line in _lines(proof)]
    colour = "green" if proofs.holds else "red"
    return Panel(
        Group(*lines, Text(), _summary(proofs)),
        title=f"[bold {colour}]{'the judge can say no' if proofs.holds else 'NOT PROVED'}[/]",
        border_style=colour,
        title_align="left",
    )


def _lines(proof: Proof) -> tuple[RenderableType, ...]:
    mark, style = ("✓", "green") if proof.holds else ("✗", "bold red")
    twin = ("stays green", "green") if proof.twin_holds else ("IS NOT GREEN", "bold red")
    caught = " ".join(proof.caught_by) or "nobody"
    first = Text.assemble(
        (f"{mark} {proof.name}", style),
        f": must break {' '.join(proof.breaks)}, caught by ",
        (caught, style),
        "; done right it ",
        twin,
    )
    return first, Padding(Text(proof.what), (0, 4)), Padding(Text(_told(proof), style="dim"), (0, 4))


def _told(proof: Proof) -> str:
    if proof.trouble:
        return proof.trouble
    for name in (*proof.breaks, *proof.caught_by):
        if name in proof.caught_by:
            return f"{name}: {proof.caught_by[name]}"
    return "the judge saw nothing wrong"


def _summary(proofs: Proofs) -> Text:
    proved = sum(proof.holds for proof in proofs.proofs)
    text = Text(f"{proved} of {len(proofs.proofs)} controls proved in {proofs.took_s:.0f} s; ")
    if proofs.never_red:
        return text.append(f"never seen red: {', '.join(proofs.never_red)}", style="bold red")
    return text.append("each of I1 to I9 was seen red at least once")
