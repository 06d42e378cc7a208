"""`middleman chaos prove-judge`."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from middleman.entrypoints.cli.attach import HOME
from middleman.entrypoints.cli.saying import FAILED, INTERRUPTED, MISUSE, fail

if TYPE_CHECKING:
    from chaos.prove.proof import Proofs

PROVE_DIR = HOME / "prove-judge"


def prove_judge(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every control and what caught it to this file.")
    ] = None,
    data_dir: Annotated[
        Path, typer.Option(help="Where the servers keep their data and logs; emptied first.")
    ] = PROVE_DIR,
) -> None:
    """Prove that the judge can say no.

    Starts everything on this machine, and does each wrong once: replicas without the fence, with the term in
    the idempotency key, with an intent per attempt; nobody charging for too long; books and ledger that were
    tampered with. Each has to turn the verdict red, and the same done right has to stay green.

    Exit status 0 if all of that was seen, and each invariant was red at least once; 1 if not, 2 on misuse.
    """
    if json_file is not None and (json_file.is_dir() or not json_file.absolute().parent.is_dir()):
        fail(f"cannot write {json_file}: name a file in a directory that exists", MISUSE)
    proofs = _proved(data_dir)
    if json_file is not None:
        json_file.write_text(json.dumps(proofs.to_json(), indent=2) + "\n")
    _print(proofs, data_dir)
    raise typer.Exit(0 if proofs.holds else FAILED)


def _proved(data_dir: Path) -> "Proofs":
    from chaos.prove.show import show
    from cluster.errors import ClusterError, DataDirLockedError

    try:
        return asyncio.run(show(data_dir))
    except DataDirLockedError as error:
        fail(str(error), MISUSE)
    except (ClusterError, OSError) as error:
        fail(f"{error} (logs: {data_dir / 'logs'})", FAILED)
    except (asyncio.CancelledError, KeyboardInterrupt):
        fail("given up: everything is stopped, nothing was proved", INTERRUPTED)


def _print(proofs: "Proofs", data_dir: Path) -> None:
    from rich.console import Console

    from chaos.prove.proof import table

    console = Console()
    console.print(table(proofs))
    if not proofs.holds:
        console.print(f"The data and the logs stay in {data_dir} until the next time.")
