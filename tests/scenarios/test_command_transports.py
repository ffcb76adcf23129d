"""S9: commands as transports, by the recipes for UUCP and fax, run as another user."""

from __future__ import annotations

import email
import json
import smtplib
from pathlib import Path
from typing import Any

from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import mail_sink
from tests.peers import eventually, require_root

_RECORDER = """\
#!/usr/bin/python3 -I
import json, os, sys
text = sys.stdin.buffer.read().decode()
record = {"argv": sys.argv[1:], "text": text, "user": os.getuid(), "environment": dict(os.environ)}
name = f"{FOLDER}/record.{os.getpid()}"
with open(name + ".new", "w") as file:
    json.dump(record, file)
os.rename(name + ".new", name)
status = f"{FOLDER}/status"
if os.path.exists(status):
    code, said = open(status).read().split(" ", 1)
    print(said)
    sys.exit(int(code))
"""
_SERVICES = """\
uucp unix - n n - - pipe
  flags=Fqhu user=nobody argv={command} -r -n -z -a$sender - $nexthop!rmail ($recipient)
fax unix - n n - 1 pipe
  flags= user=nobody argv={command} -n -d ${{user}} -
"""


class _Commands:
    """A command that keeps a record of each time that it's run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        folder.chmod(0o777)
        self.command = folder / "recorder"
        self.command.write_text(_RECORDER.replace("{FOLDER}", str(folder)))
        self.command.chmod(0o755)

    def ends_with(self, status: int, said: str = "") -> None:
        """How the command ends from now on."""
        (self._folder / "status").write_text(f"{status} {said}")

    def records(self, count: int) -> list[dict[str, Any]]:
        """So many records, once they are there; they are taken away."""
        eventually(lambda: len(list(self._folder.glob("record.*[0-9]"))) >= count, "the command")
        paths = sorted(self._folder.glob("record.*[0-9]"))
        assert len(paths) == count
        found = [json.loads(path.read_text()) for path in paths]
        for path in paths:
            path.unlink()
        return found


def _send(ours: GatewayProcess, sender: str, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", ours.port, timeout=10) as client:
        client.sendmail(sender, recipients, "Subject: x\n\n.dot\nFrom here\n")


def test_commands_by_the_recipes_of_the_books(open_path: Path) -> None:
    require_root("commands as another user")
    commands = _Commands(open_path / "commands")
    settings = {
        "relay_domains": "uucp.example, fax.example",
        "fax_destination_recipient_limit": "1",
    }
    with mail_sink() as senders:
        table = (
            f"uucp.example uucp:site\nfax.example fax:localhost\n"
            f"example.org smtp:[127.0.0.1]:{senders.port}\n"
        )
        services = _SERVICES.format(command=commands.command)
        with gateway(open_path, table, settings, services, "mail") as ours:
            # One job for several recipients, in the order of octets; lower case by flags h and u.
            _send(ours, "Me@Example.org", "Joe@UUCP.example", "ann@uucp.example")
            [record] = commands.records(1)
            expected = ["joe@uucp.example)", "ann@uucp.example)"]
            assert record["argv"] == [
                *("-r", "-n", "-z", "-aMe@Example.org", "-", "site!rmail"),
                *(f"({each}" for each in expected),
            ]
            lines = record["text"].split("\n")
            assert lines[0].startswith("From Me@Example.org  ")
            assert lines[1].startswith("Received: ")
            assert record["text"].endswith("\n\n.dot\nFrom here\n")
            assert set(record["environment"]) <= {"PATH", "TZ", "LANG", "MAIL_CONFIG", "LC_CTYPE"}
            assert record["user"] != 0

            _send(ours, "", "ann@uucp.example")
            assert "-aMAILER-DAEMON" in commands.records(1)[0]["argv"]

            # A fax for each number.
            _send(ours, "me@example.org", "5551234@fax.example", "5555678@fax.example")
            numbers = [record["argv"] for record in commands.records(2)]
            assert sorted(numbers) == [["-n", "-d", each, "-"] for each in ("5551234", "5555678")]

            # A line that is busy, then a number that is none.
            commands.ends_with(75, "busy")
            _send(ours, "me@example.org", "5551234@fax.example")
            busy = r"dsn=4\.3\.0, status=deferred \(temporary failure\. Command output: busy\)"
            ours.wait_log(f"relay=fax, .*{busy}")
            commands.records(1)
            commands.ends_with(67, "no such number")
            assert ours.ctl("postqueue", "-f").returncode == 0
            eventually(lambda: senders.messages, "the report")
            assert ours.is_empty()
    report = email.message_from_bytes(senders.messages[0])
    fields: Any = report.get_payload()[1].get_payload()[1]  # type: ignore[index,union-attr]
    assert fields["Status"] == "5.1.1"
    assert fields["Diagnostic-Code"] == "x-unix; no such number"
