"""`python -m chaos.reporting report.json DIRECTORY`: make page and time line anew from the JSON of an earlier run."""

import json
import sys
from pathlib import Path

from rich.console import Console

from chaos.reporting.from_json import UnreadableReportError, run_report
from chaos.reporting.summary import summary
from chaos.reporting.write import write_report

USAGE = "usage: python -m chaos.reporting REPORT.json DIRECTORY"


def main(arguments: list[str]) -> int:
    """Exit status 2 for anything that cannot be read or written, with one line that says why."""
    if len(arguments) != 2:
        print(USAGE, file=sys.stderr)
        return 2
    source, directory = map(Path, arguments)
    try:
        report = run_report(json.loads(source.read_text(encoding="utf-8")))
        written = write_report(report, directory)
    except (OSError, ValueError, UnreadableReportError) as error:
        print(f"chaos.reporting: {source}: {error}", file=sys.stderr)
        return 2
    Console().print(summary(report))
    print(written.html)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
