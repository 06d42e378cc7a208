"""`middleman chaos failover`: misuse is one line and exit status 2, before anything is started."""

import pytest

from middleman.entrypoints.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--kind", "sideways"), "'sideways' is not one of 'crash', 'freeze', 'graceful', 'partition'"),
        (("--lease-only=maybe",), "--lease-only"),
        (("--kind", "crash", "--runs", "0"), "runs=0: must be from 1 to 10000"),
        (("--kind", "crash", "--replicas", "1"), "replicas=1: must be from 2 to 9"),
        (("--kind", "crash", "--json", "/nowhere/at/all.json"), "cannot write /nowhere/at/all.json"),
    ],
)
def test_misuse_is_one_line(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "failover", *arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert told in error
    assert error.count("\n") == 1
