"""What a command's end means for the mail (sysexits.h, postfix.md §3)."""

from __future__ import annotations

import re

from gatewayd.status import Action, Diagnostic, Outcome

__all__ = ["OUTPUT_LIMIT", "ended", "timed_out"]

OUTPUT_LIMIT = 4096
"""Octets of output that are kept."""

_SYSEXITS = {
    64: ("5.3.0", "command line usage error"),
    65: ("5.6.0", "data format error"),
    66: ("5.3.0", "cannot open input"),
    67: ("5.1.1", "user unknown"),
    68: ("5.1.2", "host name unknown"),
    69: ("5.3.0", "service unavailable"),
    70: ("5.3.0", "internal software error"),
    71: ("4.3.0", "system resource problem"),
    72: ("5.3.0", "critical OS file missing"),
    73: ("5.2.0", "can't create user output file"),
    74: ("5.3.0", "input/output error"),
    75: ("4.3.0", "temporary failure"),
    76: ("5.5.0", "remote error in protocol"),
    77: ("5.7.0", "permission denied"),
    78: ("5.3.5", "local configuration error"),
}
_STATUS = re.compile(r"[ \t]*([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:[ \t]+|\Z)")
_SHOWN = 100


def timed_out(command: str) -> Outcome:
    """The command took longer than its time limit, and was killed."""
    text = f'Command time limit exceeded: "{command}"'
    return Outcome(Action.FAILED, "5.3.0", text, diagnostic=Diagnostic("x-unix", text))


def ended(status: int, output: bytes, service: str, command: str, *, is_final: bool) -> Outcome:
    """The outcome of an exit status (negative: killed by that signal) and what was printed.

    ``is_final``: the command stands for a mailbox (flag X).
    """
    text = _clean(output)
    if status == 0:
        said = f" ({text[:_SHOWN]})" if text else ""
        action = Action.DELIVERED if is_final else Action.RELAYED
        return Outcome(action, "2.0.0", f"delivered via {service} service{said}", relay=service)
    if status < 0:
        reason = f'Command died with signal {-status}: "{command}"'
        return _with_output("4.3.0", reason, text, service)
    match = _STATUS.match(_first_line(output))
    if match is not None:
        digit = "5" if match[1] == "2" else match[1]
        code = "5.0.0" if match[1] == "2" else f"{digit}.{match[2]}.{match[3]}"
        rest = _clean(_first_line(output)[match.end() :].encode() + _after_first(output))
        return _outcome(code, rest or text, rest or text, service)
    if status in _SYSEXITS:
        code, reason = _SYSEXITS[status]
        return _with_output(code, reason, text, service)
    reason = f'Command died with status {status}: "{command}"'
    return _with_output("5.3.0", reason, text, service)


def _with_output(status: str, reason: str, output: str, service: str) -> Outcome:
    text = f"{reason}. Command output: {output}" if output else reason
    return _outcome(status, text, output or reason, service)


def _outcome(status: str, text: str, diagnostic: str, service: str) -> Outcome:
    action = Action.DEFERRED if status.startswith("4") else Action.FAILED
    return Outcome(action, status, text, relay=service, diagnostic=Diagnostic("x-unix", diagnostic))


def _first_line(output: bytes) -> str:
    return output.split(b"\n", 1)[0].decode("utf-8", "replace")


def _after_first(output: bytes) -> bytes:
    _, newline, rest = output.partition(b"\n")
    return newline + rest


def _clean(output: bytes) -> str:
    """One line: tabs and line ends become blanks, other control characters ``_``."""
    text = output.decode("utf-8", "replace").rstrip("\n\r\t ")
    return "".join(
        " " if char in "\t\n" else char if char >= " " and char != "\x7f" else "_" for char in text
    )
