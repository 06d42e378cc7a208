"""Reserved ports."""

import socket
from pathlib import Path

import pytest

from cluster.ports import HOST, reserve_port


def listen_on(port: int) -> socket.socket:
    """What every member does."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((HOST, port))
    server.listen()
    return server


def test_a_member_can_listen_on_its_reserved_port_again_and_again() -> None:
    port = reserve_port()
    for _ in range(2):
        server = listen_on(port.number)
        client = socket.create_connection((HOST, port.number), timeout=5)
        accepted, _ = server.accept()
        accepted.close()  # the server closes first, which leaves a connection in TIME_WAIT
        client.close()
        server.close()
    port.release()


def test_while_the_member_is_down_connections_are_refused() -> None:
    port = reserve_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port.number), timeout=5)
    port.release()


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    port = reserve_port()
    other = reserve_port(port.number)
    assert other.number != port.number
    with socket.socket() as stranger, pytest.raises(OSError, match="Address already in use"):
        stranger.bind((HOST, port.number))
    port.release()
    other.release()


def test_a_preferred_port_is_kept_when_only_old_connections_linger_on_it() -> None:
    port = reserve_port()
    with listen_on(port.number) as server:
        client = socket.create_connection((HOST, port.number), timeout=5)
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    port.release()
    again = reserve_port(port.number)
    assert again.number == port.number
    again.release()


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    port = reserve_port()
    port.release()
    with listen_on(port.number):
        other = reserve_port(port.number)
        assert other.number != port.number
        other.release()


def test_ports_lie_below_the_ephemeral_range_where_clients_could_connect_to_themselves() -> None:
    ephemeral_start = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    port = reserve_port()
    assert port.number < ephemeral_start
    port.release()
