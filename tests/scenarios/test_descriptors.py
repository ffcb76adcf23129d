"""Too few file descriptors (G7): refused or put off, nothing lost, all well afterwards."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress
from pathlib import Path

from tests.gateway_process import gateway
from tests.mail_load import LARGE, REFUSED, Load, arrive, send
from tests.mail_sink import mail_sink
from tests.peers import eventually

_LIMIT = 64
_SETTINGS = {
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "1s",
    "queue_run_delay": "1s",
    "smtpd_client_connection_count_limit": "0",
}


def _connections(port: int, count: int) -> list[socket.socket]:
    """Clients that only connect, as many as get in."""
    found = []
    for _ in range(count):
        with suppress(OSError):
            found.append(socket.create_connection(("127.0.0.1", port), timeout=5))
    return found


def test_few_descriptors(tmp_path: Path) -> None:
    """More clients than it can have open, so that neither files nor next hops can be opened."""
    with (
        mail_sink() as sink,
        gateway(tmp_path, f"example.com smtp:[127.0.0.1]:{sink.port}\n", _SETTINGS) as ours,
    ):
        assert ours.process is not None
        resource.prlimit(ours.process.pid, resource.RLIMIT_NOFILE, (_LIMIT, _LIMIT))
        load = Load(ours.port)
        idle = _connections(ours.port, 2 * _LIMIT)
        eventually(lambda: load.codes[REFUSED] + load.codes[451] > 0, "refusals", 90)
        for each in idle:
            each.close()
        eventually(lambda: send(ours.port, "after", LARGE) == 250, "mail is taken again")
        load.stop()
        assert set(load.codes) <= {250, 421, 451, REFUSED}
        assert load.codes[250] > 0
        arrive(sink, load.acknowledged | {"after"})
        eventually(ours.is_empty, "all recorded")
