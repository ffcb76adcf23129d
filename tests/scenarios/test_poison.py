"""A message that kills the gateway whenever it's delivered (G21): set aside, the rest arrives."""

from __future__ import annotations

import json
from pathlib import Path

from gatewayd.queue.suspects import LIMIT
from tests.gateway_process import GatewayProcess
from tests.mail_load import arrive, marks, send
from tests.mail_sink import mail_sink
from tests.peers import eventually, free_port

_SETTINGS = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s", "queue_run_delay": "1s"}
_INNOCENT = {f"innocent-{number}" for number in range(30)}


def _entries(ours: GatewayProcess) -> list[dict[str, object]]:
    return [json.loads(line) for line in ours.ctl("postqueue", "-j").stdout.splitlines()]


def test_poison(tmp_path: Path) -> None:
    port = free_port()
    ours = GatewayProcess(tmp_path / "gateway", f"example.com smtp:[127.0.0.1]:{port}\n", _SETTINGS)
    ours.start()
    for number, mark in enumerate(sorted(_INNOCENT)):
        assert send(ours.port, mark) == 250
        if number == 10:
            assert send(ours.port, "poison") == 250
    deaths = 0
    with mail_sink(port) as sink:
        sink.before_reply = lambda message: ours.kill() if b"poison" in message else None

        def set_aside() -> bool:
            """Starts it again whenever it has died, as systemd does."""
            nonlocal deaths
            assert ours.process is not None
            if ours.process.poll() is not None:
                deaths += 1
                ours.start()
            return "set aside as corrupt" in ours.log()

        eventually(set_aside, "the poison is set aside", 60)
        arrive(sink, _INNOCENT)
        assert send(ours.port, "after") == 250
        arrive(sink, {"after"})
        eventually(lambda: len(_entries(ours)) == 1, "all but the poison recorded")
        [left] = _entries(ours)
        assert left["queue_name"] == "corrupt"
        assert deaths == LIMIT == marks(sink)["poison"]
        ours.wait_log(rf"error: {left['queue_id']}: set aside as corrupt: the gateway died 6 times")
    ours.stop()
