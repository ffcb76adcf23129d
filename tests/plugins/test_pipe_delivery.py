"""pipe with real commands: what they get, and what their end means (postfix.md §3)."""

from __future__ import annotations

import os
import pwd
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gatewayd.address import Address, parse_address
from gatewayd.config.load import make_settings
from gatewayd.config.main_cf import Assignment
from gatewayd.config.master_cf import parse
from gatewayd.errors import ConfigError
from gatewayd.message import (
    DeliveryRequest,
    Envelope,
    MemoryContent,
    Origin,
    QueuedMessage,
    QueuedRecipient,
    Recipient,
    Route,
)
from gatewayd.plugins.pipe.transport import make
from gatewayd.process.launching import Launching
from gatewayd.status import Action, Outcome
from gatewayd.transport import TransportContext
from tests.peers import require_root
from tests.reactor_run import reactor, run

_CONTENT = b"Subject: x\r\n\r\nFrom here\r\n.dot\r\nend\r\n"
_SENDER = Address("Send Er", "example.org")


class _Source:
    """One request, and what became of it."""

    def __init__(self, request: DeliveryRequest) -> None:
        self._waiting = [request]
        self.outcomes: dict[int, Outcome] = {}

    def take(self) -> DeliveryRequest | None:
        return self._waiting.pop() if self._waiting else None

    def wait(self, seconds: float) -> Deferred[DeliveryRequest | None]:
        raise AssertionError("pipe keeps nothing open")

    def done(self, request: DeliveryRequest, outcomes: Mapping[int, Outcome]) -> None:
        self.outcomes.update(outcomes)


def _request(addresses: list[str], content: bytes, sender: Address = _SENDER) -> DeliveryRequest:
    route = Route("cmd", "Next.HOP")
    recipients = tuple(
        QueuedRecipient(place, Recipient(parse_address(each), route, original=f"orig-{each}"))
        for place, each in enumerate(addresses)
    )
    origin = Origin("ESMTP", "helo.example", "client.example", "192.0.2.9", 4711)
    envelope = Envelope(sender, origin=origin)
    message = QueuedMessage("ABCDEF12", 1.0, envelope, recipients, MemoryContent(content))
    return DeliveryRequest(message, route, recipients)


def _context(line: str, launcher: Any = None, **settings: str) -> TransportContext:
    master = parse(f"cmd unix - n n - - pipe {line}\n", "master.cf")
    assert not master.errors, master.errors
    assignments = {
        name: Assignment(name, value, "main.cf", 1)
        for name, value in {"queue_directory": "/", **settings}.items()
    }
    made = make_settings("/etc", assignments, "host.example")
    return TransportContext(master.services[0], made, reactor, None, launcher)


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _deliver(
    tmp_path: Path,
    line: str,
    script: str,
    addresses: list[str] | None = None,
    content: bytes = _CONTENT,
    sender: Address = _SENDER,
    **settings: str,
) -> Outcome:
    """Deliver to a shell script as ``nobody`` (or ourselves); gives the first outcome."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o777)
    user = "nobody" if os.geteuid() == 0 else _user()
    entry = pwd.getpwnam(user)
    source = _Source(_request(addresses or ["Joe+ext@Example.com"], content, sender))

    async def work() -> None:
        launching = Launching([(entry.pw_uid, entry.pw_gid)], reactor, start=os.geteuid() == 0)
        try:
            filled = line.format(program=program, out=tmp_path)
            transport = make(_context(f"user={user} {filled}", launching, **settings))
            await transport.deliver("Next.HOP", source)
        finally:
            launching.close()

    run(work)
    return source.outcomes[0]


def test_arguments_without_a_shell(tmp_path: Path) -> None:
    argv = "argv={program} ${{sender}} $user $(extension) {{a b}} ;id $nexthop $size $queue_id $$"
    outcome = _deliver(
        tmp_path,
        "flags=h " + argv,
        f'for a; do echo "<$a>"; done > {tmp_path}/out',
        recipient_delimiter="+",
    )
    assert outcome.action is Action.RELAYED
    assert outcome.text == "delivered via cmd service"
    shown = (tmp_path / "out").read_text().split("\n")
    assert shown[:-1] == [
        *("<Send Er@example.org>", "<Joe>", "<ext>", "<a b>", "<;id>", "<next.hop>"),
        *(f"<{len(_CONTENT)}>", "<ABCDEF12>", "<$>"),
    ]


def test_the_end_of_a_command_is_noticed_at_once(tmp_path: Path) -> None:
    """With the last of its output, not by the time-out for what its children may yet say."""
    for script in ("exit 0", "echo done", "sleep 1 >/dev/null 2>&1 & exit 0"):
        began = time.monotonic()
        assert _deliver(tmp_path, "argv={program}", script).action is Action.RELAYED
        assert time.monotonic() - began < 0.9


def test_recipients_repeat_in_place_and_in_order(tmp_path: Path) -> None:
    _deliver(
        tmp_path,
        "argv={program} x ($recipient) y",
        f'echo "$@" > {tmp_path}/out',
        ["joe@b.example", "zoe@a.example", "ann@b.example"],
    )
    out = (tmp_path / "out").read_text()
    assert out == "x (zoe@a.example) (ann@b.example) (joe@b.example) y\n"


def test_flags_on_the_message(tmp_path: Path) -> None:
    _deliver(
        tmp_path,
        "flags=BDORq.> argv={program}",
        f"cat > {tmp_path}/out",
        cmd_destination_recipient_limit="1",
    )
    assert (tmp_path / "out").read_bytes() == (
        b'Return-Path: <"Send Er"@example.org>\nX-Original-To: orig-Joe+ext@Example.com\n'
        b"Delivered-To: Joe+ext@Example.com\nSubject: x\n\n>From here\n..dot\nend\n\n"
    )


def test_from_line_and_eol(tmp_path: Path) -> None:
    _deliver(
        tmp_path, r"flags=F eol=\r\n argv={program}", f"cat > {tmp_path}/out", sender=Address("")
    )
    out = (tmp_path / "out").read_bytes()
    assert out.startswith(b"From MAILER-DAEMON  ")
    assert out.endswith(_CONTENT)


@pytest.mark.parametrize(
    ("script", "status", "action", "text"),
    [
        ("exit 0", "2.0.0", Action.RELAYED, "delivered via cmd service"),
        ("echo yes; exit 0", "2.0.0", Action.RELAYED, "delivered via cmd service (yes)"),
        ("echo 4.2.2 full; exit 1", "4.2.2", Action.DEFERRED, "full"),
        ("echo 5.7.1 never; exit 9", "5.7.1", Action.FAILED, "never"),
        ("echo 2.1.1 odd; exit 9", "5.0.0", Action.FAILED, "odd"),
        ("echo a; echo b; exit 67", "5.1.1", Action.FAILED, "user unknown. Command output: a b"),
        ("exit 75", "4.3.0", Action.DEFERRED, "temporary failure"),
        ("exit 77", "5.7.0", Action.FAILED, "permission denied"),
        ("kill -9 $$", "4.3.0", Action.DEFERRED, "Command died with signal 9"),
        ("exit 3", "5.3.0", Action.FAILED, "Command died with status 3"),
    ],
)
def test_exits(tmp_path: Path, script: str, status: str, action: Action, text: str) -> None:
    outcome = _deliver(tmp_path, "argv={program}", script)
    assert (outcome.status, outcome.action) == (status, action)
    assert outcome.text.startswith(text)


def test_time_limit_kills_the_group_and_bounces(tmp_path: Path) -> None:
    outcome = _deliver(tmp_path, "argv={program}", "sleep 60 & wait", cmd_time_limit="1")
    assert (outcome.status, outcome.action) == ("5.3.0", Action.FAILED)
    assert outcome.text.startswith("Command time limit exceeded")


def test_command_that_does_not_read_is_fine(tmp_path: Path) -> None:
    content = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" * 100000
    assert _deliver(tmp_path, "argv={program}", "exit 0", content=content).is_success


def test_large_content_and_endless_output(tmp_path: Path) -> None:
    line = b"y" * 70 + b"\r\n"
    content = b"Subject: big\r\n\r\n" + line * 60000
    script = f"cat > {tmp_path}/out; yes | head -c 1000000"
    outcome = _deliver(tmp_path, "argv={program}", script, content=content)
    assert outcome.is_success
    assert (tmp_path / "out").read_bytes() == content.replace(b"\r\n", b"\n")


def test_missing_command_defers(tmp_path: Path) -> None:
    outcome = _deliver(tmp_path, "argv=/no/such/command", "")
    assert (outcome.status, outcome.action) == ("4.3.0", Action.DEFERRED)


def test_loop_size_and_misconfiguration(tmp_path: Path) -> None:
    loop = b"Delivered-To: joe+EXT@example.com\r\n" + _CONTENT
    one = {"cmd_destination_recipient_limit": "1"}
    outcome = _deliver(tmp_path, "flags=D argv={program}", "exit 0", content=loop, **one)
    assert (outcome.status, outcome.action) == ("5.4.6", Action.FAILED)
    outcome = _deliver(tmp_path, "flags=D argv={program}", "exit 0")
    assert (outcome.status, outcome.action) == ("4.3.5", Action.DEFERRED)
    outcome = _deliver(tmp_path, "size=10 argv={program}", "exit 0")
    assert (outcome.status, outcome.text) == ("5.2.3", "message too large")
    outcome = _deliver(tmp_path, "argv={program} $unknown_name", "exit 0")
    assert (outcome.status, outcome.action) == ("4.3.5", Action.DEFERRED)


def test_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("TZ", "UTC")
    _deliver(tmp_path, "argv=/usr/bin/env", "")
    outcome = _deliver(tmp_path, "argv={program}", f"/usr/bin/env > {tmp_path}/out")
    assert outcome.is_success
    names = {line.split("=")[0] for line in (tmp_path / "out").read_text().split("\n") if line}
    assert names - {"PWD", "SHLVL", "_", "LANG", "MAIL_CONFIG"} == {"PATH", "TZ"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("argv=/bin/true", "missing user="),
        ("user=nobody", "missing argv="),
        ("user=nobody flags=Z argv=/bin/true", 'unknown flag "Z"'),
        ("user=nobody color=red argv=/bin/true", 'unknown attribute "color"'),
        ("user=root argv=/bin/true", "root privileges"),
        ("user=no-such-user argv=/bin/true", "unknown user name"),
        ("user=nobody size=big argv=/bin/true", "a number of octets"),
        ("user=nobody /bin/true", "expected attribute=value"),
    ],
)
def test_bad_services_are_refused_with_their_line(line: str, problem: str) -> None:
    require_root("users are looked at before rights")
    with pytest.raises(ConfigError, match=rf"^master.cf:1: .*{problem}"):
        make(_context(line))


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
