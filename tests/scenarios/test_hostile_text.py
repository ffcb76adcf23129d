"""G14 and G15: what strangers write never becomes a header field, a log line or a command."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import mail_sink
from tests.peers import eventually, require, require_root

_INJECTED = "X-Injected: yes"
_BREAKS = ("\r", "\0", "\x1b[2J", "\x0b", "\x0c", "\x85", "\u2028", "\x1c", "\x7f")
_XTEXT = "x+0D+0AX-Injected:+20yes+00+1B[2J"
_LOG_LINE = re.compile(r"\w{3} [ \d]\d [\d:]{8} \S+ gatewayd/\S+\[\d+\]: .+\Z")
_FORGED_FIELD = re.compile(rb"(?:^|[\r\n\0])X-Injected", re.M)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _converse(port: int, *lines: str) -> list[bytes]:
    """Send raw lines one after the other; gives the last line of each reply."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        replies = connection.makefile("rb")
        found = []
        for line in ("", *lines):
            if line:
                connection.sendall(line.encode() + b"\r\n")
            while (reply := replies.readline())[3:4] == b"-":
                assert not _CONTROL.search(reply)
            assert not _CONTROL.search(reply.rstrip(b"\r\n")), reply
            found.append(reply)
            if not reply:
                break
        return found[1:]


def _content(subject: str) -> str:
    return f"Subject: {subject}\r\n\r\nbody\r\n."


def test_control_characters_stay_out_of_headers_and_log(tmp_path: Path) -> None:
    """In the greeting, paths, parameters, unknown commands, a server's replies, command lines."""
    with mail_sink() as sink, mail_sink() as refusing:
        refusing.answers["RCPT"] = f"550 5.1.1 no\x1b[2J\r{_INJECTED}\0\x85\u2028{_INJECTED}"
        refusing.answers["DATA"] = "554 no"
        table = (
            f"refusing.example smtp:[127.0.0.1]:{refusing.port}\n* smtp:[127.0.0.1]:{sink.port}\n"
        )
        sink.extensions.append("SMTPUTF8")
        patient = {"smtpd_error_sleep_time": "0", "smtpd_hard_error_limit": "1000"}
        with gateway(tmp_path, table, patient) as ours:
            for character in _BREAKS:
                evil = f"x{character}{_INJECTED}"
                _converse(
                    ours.port, f"EHLO {evil}", f"{evil} {evil}", f"VRFY {evil}", f"ETRN {evil}"
                )
                _converse(
                    ours.port,
                    f"HELO {evil}",
                    f"MAIL FROM:<{evil}@example.org>",
                    f'MAIL FROM:<"{evil}"@example.org>',
                    "RSET",
                    f"MAIL FROM:<s@example.org> RET=FULL ENVID={evil}",
                    f"MAIL FROM:<s@example.org> RET=FULL ENVID={_XTEXT}",
                    "MAIL FROM:<s@example.org> RET=FULL",
                    f"RCPT TO:<{evil}@example.com>",
                    f"RCPT TO:<r@{evil}>",
                    f'RCPT TO:<"{evil}"@refusing.example>',
                    f"RCPT TO:<r@refusing.example> NOTIFY=FAILURE ORCPT=rfc822;{_XTEXT}@a.example",
                    f"RCPT TO:<r@refusing.example> ORCPT=rfc822;{evil}@a.example",
                    "RCPT TO:<r@refusing.example>",
                    "RCPT TO:<r@example.com>",
                    "DATA",
                    _content("by SMTP"),
                )
            name = f"x\r\n{_INJECTED}\r\n\r\n"
            for arguments in (
                ("-F", name, "r@example.com"),
                ("-V", name, "r@example.com"),
                ("-f", f"{name}@example.org", "r@example.com"),
                (f"{name}@example.com",),
            ):
                refused = ours.ctl("sendmail", *arguments, stdin="Subject: x\n\nx\n")
                assert refused.returncode == 65, refused
            ours.send("r@example.com", "Subject: the end\n\nx")
            eventually(lambda: any(b"the end" in each for each in sink.messages), "the last one")
            eventually(ours.is_empty, "an empty queue")
            reports = [each for each in sink.messages if b"multipart/report" in each]
            assert len(reports) >= len(_BREAKS)
            assert any(b"Subject: by SMTP" in each for each in sink.messages)
            for message in sink.messages:
                assert not _FORGED_FIELD.search(message), message
                assert not _CONTROL.search(message.partition(b"\r\n\r\n")[0]), message
            for sender, recipients in sink.envelopes:
                assert not _CONTROL.search(" ".join([sender, *recipients]).encode())
            for line in (ours.root / "log").read_bytes().split(b"\n")[:-1]:
                assert not _CONTROL.search(line)
                assert _LOG_LINE.match(line.decode()), line


_ADDRESSES = (
    "$(touch {mark})",
    "`touch {mark}`",
    ";touch {mark}",
    "|touch {mark}",
    "||touch {mark}",
    "&touch {mark}&",
    "x\\ntouch {mark}",
    "${{IFS}}touch",
    "-oQ{mark}",
    "--help",
    "|/bin/sh",
    "/etc/passwd",
    "../../etc/passwd",
    ":include:/etc/passwd",
    "!touch {mark}",
    "~root",
    "*",
    "() {{ :;}}; touch {mark}",
    "${{run{{/bin/touch {mark}}}}}",
    "%0atouch",
)


def _executed(trace: str) -> list[str]:
    """The programs in an strace of execve; those tried in vain as well."""
    return re.findall(r'execve(?:at)?\((?:\w+, )?"([^"]+)"', trace)


def test_no_command_is_executed_from_mail(open_path: Path) -> None:
    """Shell and path characters in every address and header, to a command and to a server; every
    execve of the gateway and all its children is watched."""
    require_root("commands as another user")
    strace = require("strace", "strace")
    mark = open_path / "mark"
    services = (
        "command unix - n n - - pipe user=nobody\n"
        "  argv=/usr/bin/printf %s $sender $recipient $user $extension $domain ${nexthop}\n"
    )
    with mail_sink() as sink:
        table = f"example.com command:$(touch {mark})\n* smtp:[127.0.0.1]:{sink.port}\n"
        settings = {"command_destination_recipient_limit": "1", "recipient_delimiter": "+"}
        ours = GatewayProcess(open_path / "gateway", table, settings, services, "mail")
        trace = open_path / "trace"
        filters = ("-f", "--seccomp-bpf", "-qq", "-e", "trace=execve,execveat", "-s", "500")
        ours.wrapper = (strace, *filters, "-o", str(trace))
        ours.start()
        try:
            accepted = _send_hostile_mail(ours, mark)
            eventually(ours.is_empty, "an empty queue", step=0.2)
        finally:
            ours.daemon("stop")
            assert ours.process is not None
            ours.process.wait(30)
    assert accepted > 10
    runs = len(re.findall(r"command/pipe\[\d+\]: .*status=sent", ours.log()))
    executed = _executed(trace.read_text())
    assert set(executed) <= {sys.executable, "/usr/bin/printf"}
    assert executed.count("/usr/bin/printf") == runs > accepted
    assert not mark.exists()


def _send_hostile_mail(ours: GatewayProcess, mark: Path) -> int:
    """How many messages were accepted."""
    accepted = 0
    for text in _ADDRESSES:
        local = text.format(mark=mark)
        lines = ["EHLO $(touch)", f'MAIL FROM:<"{local}"@example.org>']
        for domain in ("example.com", "far.example"):
            lines += [f'RCPT TO:<"{local}"@{domain}>', f'RCPT TO:<"a+{local}"@{domain}>']
        answers = _converse(ours.port, *lines, "DATA", _content(local), "QUIT")
        accepted += answers[-2].startswith(b"250")
    return accepted
