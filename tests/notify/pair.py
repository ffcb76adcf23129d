"""The same mail through a real Postfix and through gatewayd, and the reports that each made of it.

Both have one name, one configuration and the same peers; what each sends back is kept apart.
"""

from __future__ import annotations

import re
import smtplib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from tests import postfix
from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import MailSink, mail_sink
from tests.peers import open_folder

__all__ = ["Mail", "Received", "Side", "pair"]

_SETTINGS = {
    "myhostname": "mx.test",
    "myorigin": "origin.test",
    "mydestination": "",
    "relay_domains": "",
    "smtpd_reject_unlisted_recipient": "no",
    "smtp_host_lookup": "native",
    "smtp_dns_support_level": "disabled",
    "inet_protocols": "ipv4",
    "smtpd_peername_lookup": "no",
    "mail_name": "Postfix",
}
_OURS = {"mail_owner": "daemon"}
"""Root must be given up, so that there's a launcher to run commands as other users."""
_HOME = ("sender.test", "origin.test")
"""The domains of senders and of the postmaster: their mail comes to the side's own sink."""


@dataclass(frozen=True)
class Mail:
    """A message to be reported about.

    ``recipients`` are RCPT arguments: an address with its parameters. ``options`` are MAIL's.
    The sender's local part is ``name`` if ``sender`` isn't given.
    """

    name: str
    recipients: Sequence[str]
    options: str = ""
    content: bytes = b"Subject: hello\r\nFrom: me@sender.test\r\n\r\nthe body\r\n"
    sender: str | None = None

    @property
    def reverse_path(self) -> str:
        return f"{self.name}@sender.test" if self.sender is None else self.sender


@dataclass(frozen=True)
class Received:
    """A message at a side's sink. ``sender`` and ``recipient`` are addresses."""

    sender: str
    recipient: str
    content: bytes


class _Server(Protocol):
    """What Postfix and gatewayd have in common here."""

    @property
    def port(self) -> int: ...

    def log(self) -> str: ...

    def wait_log(self, pattern: str, seconds: float = 30.0) -> re.Match[str]: ...


@dataclass
class Side:
    """One of the two servers, with the sink that its reports come to."""

    name: str
    server: _Server
    sink: MailSink
    queue_ids: dict[str, str] = field(default_factory=dict)

    def command(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command on its queue."""
        if isinstance(self.server, GatewayProcess):
            return self.server.ctl(program, *arguments)
        assert isinstance(self.server, postfix.Postfix)
        return self.server.run(program, *arguments)

    def send(self, mail: Mail) -> None:
        """Hand one in by SMTP; every command must be taken."""
        with smtplib.SMTP("127.0.0.1", self.server.port, timeout=30) as client:
            client.command_encoding = "utf-8"
            client.ehlo("client.test")
            commands = [f"MAIL FROM:<{mail.reverse_path}> {mail.options}".rstrip()]
            commands += [f"RCPT TO:{each}" for each in mail.recipients]
            for command in commands:
                code, answer = client.docmd(command)
                assert code == 250, (self.name, command, answer)
            code, answer = client.data(mail.content)
            assert code == 250, (self.name, mail.name, answer)
            self.queue_ids[mail.name] = answer.decode().rpartition(" ")[2]

    def notices(self, name: str) -> list[tuple[str, str]]:
        """(what the log calls it, queue ID) of each report made of a message, up to the last.

        Waits until the message has left the queue.
        """
        queue_id = self.queue_ids[name]
        self.server.wait_log(rf"qmgr\[\d+\]: {queue_id}: removed")
        return self.notices_so_far(queue_id)

    def notices_so_far(self, queue_id: str) -> list[tuple[str, str]]:
        """Those that are on their way by now."""
        line = rf"bounce\[\d+\]: {queue_id}: ([\w -]+ notification): (\w+)$"
        return re.findall(line, self.server.log(), re.M)

    def reports(self, name: str) -> list[Received]:
        """The reports on a message, and on reports on it that failed, once all have ended."""
        found = []
        waiting = self.notices(name)
        while waiting:
            _, queue_id = waiting.pop()
            self.server.wait_log(rf"qmgr\[\d+\]: {queue_id}: removed")
            found += self.received(queue_id)
            waiting += self.notices_so_far(queue_id)
        return found

    def received(self, queue_id: str) -> list[Received]:
        """The message that had this queue ID here, if it has come to the sink."""
        mark = re.compile(rb"\AReceived: by mx\.test \(Postfix\)\r\n\tid " + queue_id.encode())
        pairs = zip(list(self.sink.envelopes), list(self.sink.messages), strict=False)
        return [
            Received(_path(sender), _path(recipient), content)
            for (sender, (recipient, *_)), content in pairs
            if mark.match(content)
        ]


def _path(command: str) -> str:
    """The address in a MAIL or RCPT command."""
    return command.partition("<")[2].rpartition(">")[0]


@contextmanager
def pair(
    transport: str, settings: Mapping[str, str] | None = None, services: str = ""
) -> Iterator[tuple[Side, Side]]:
    """(Postfix, gatewayd), running, with this transport table and these settings."""
    settings = {**_SETTINGS, **(settings or {})}
    with open_folder() as root, mail_sink() as theirs, mail_sink() as ours:
        folder = root / "postfix"
        folder.mkdir()
        for home in (theirs, ours):
            home.extensions.append("SMTPUTF8")
        (folder / "transport").write_text(transport + _home(theirs))
        far = {**settings, "transport_maps": f"texthash:{folder}/transport"}
        with (
            postfix.running(folder, far, services) as reference,
            gateway(root, transport + _home(ours), {**settings, **_OURS}, services) as tested,
        ):
            yield Side("postfix", reference, theirs), Side("gatewayd", tested, ours)


def _home(sink: MailSink) -> str:
    return "".join(f"{domain} smtp:[127.0.0.1]:{sink.port}\n" for domain in _HOME)
