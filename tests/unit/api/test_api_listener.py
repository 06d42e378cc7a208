"""Where the API listens: IPv4, IPv6, with or without brackets, or a name."""

import socket

import pytest

from middleman.entrypoints.api.__main__ import bind


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("0.0.0.0", "127.0.0.1")],
)
def test_the_api_is_reached_where_it_was_told_to_listen(host: str, reached_at: str) -> None:
    listener = bind(host, 0)
    try:
        socket.create_connection((reached_at, listener.getsockname()[1]), timeout=2).close()
    finally:
        listener.close()


def test_an_address_that_is_not_this_machines_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bind("2001:db8::1", 8000)
    assert ended.value.code == 2
    assert "MIDDLEMAN_API_HOST=2001:db8::1" in capsys.readouterr().err
