"""postqueue: list the queue, or deliver what waits (postfix.md §9; Postfix's own output)."""

from __future__ import annotations

import getopt
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from gatewayd.cli.place import control_client, fail, settings_in
from gatewayd.cli.queue_access import ControlRefused, open_queue
from gatewayd.config.settings import Settings
from gatewayd.control.client import DaemonDown

__all__ = ["main", "render_list"]

_USAGE = "usage: postqueue [-v] [-c DIR] -f [DOMAIN] | -p | -j | -i QUEUE_ID | -s SITE"
_HEADER = "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------"
_QUEUE_ID = re.compile(r"[0-9A-Za-z]{5,64}\Z")
_LABEL = r"[^\s\x00-\x20<>@,.;:()\[\]\\]+"
_SITE = re.compile(rf"(?:\[[0-9A-Za-z:.]+\]|(?!-){_LABEL}(?:\.{_LABEL})*)\Z")


def main(arguments: list[str]) -> int:
    """The command; exit status 0, 64 (usage) or 69 (not possible now)."""
    try:
        options, rest = getopt.gnu_getopt(arguments, "c:fi:jps:v", ["help"])
    except getopt.GetoptError as error:
        print(f"postqueue: fatal: {error}\n{_USAGE}", file=sys.stderr)
        return 64
    folder = next((value for name, value in options if name == "-c"), None)
    verbs = [(name, value) for name, value in options if name not in ("-c", "-v")]
    if ("--help", "") in verbs:
        print(_USAGE)
        return 0
    if len(verbs) != 1 or (rest and (verbs[0][0] != "-f" or len(rest) > 1)):
        print(_USAGE, file=sys.stderr)
        return 64
    settings = settings_in(folder)
    verb, value = verbs[0]
    if verb in ("-p", "-j"):
        return show(settings, as_json=verb == "-j")
    if verb == "-f" and rest:
        verb, value = "-s", rest[0]
    return flush(settings, {"-f": "all", "-s": "site", "-i": "ids"}[verb], value)


def show(settings: Settings, *, as_json: bool) -> int:
    """List the queue."""
    try:
        entries = open_queue(settings).listing()
        for line in render_json(entries) if as_json else render_list(entries):
            sys.stdout.write(line + "\n")
    except ControlRefused as refused:
        return fail("postqueue", str(refused), 69)
    return 0


def flush(settings: Settings, what: str, value: str) -> int:
    """Ask the daemon to deliver now: all, a site, or one message."""
    fields: dict[str, Any] = {}
    if what == "site":
        if not _SITE.match(value):
            reason = f'Cannot flush mail queue - invalid destination: "{value}"'
            return fail("postqueue", reason, 69)
        fields = {"site": value}
    elif what == "ids":
        if not _QUEUE_ID.match(value):
            return fail("postqueue", f'Cannot flush queue ID - invalid name: "{value}"', 69)
        fields = {"ids": [value]}
    try:
        control_client(settings).post("flush", fields)
    except DaemonDown:
        return fail("postqueue", "Cannot flush mail queue - mail system is down", 69)
    except ControlRefused as refused:
        return fail("postqueue", str(refused), 69)
    return 0


def render_json(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One object a line, with Postfix's names first and ours after them."""
    for entry in entries:
        shown = {**entry, "arrival_time": int(entry["arrival_time"])}
        shown["next_attempt"] = int(entry["next_attempt"])
        shown["sender"] = entry["sender"] or "MAILER-DAEMON"
        shown["recipients"] = [_json_recipient(each) for each in entry["recipients"]]
        yield json.dumps(shown, ensure_ascii=False)


def _json_recipient(recipient: dict[str, Any]) -> dict[str, Any]:
    shown = dict(recipient)
    if shown.get("orig_address") in ("", shown["address"]):
        shown.pop("orig_address", None)
    if not shown["delay_reason"]:
        del shown["delay_reason"]
    return shown


def render_list(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Postfix's traditional listing, line by line."""
    count = octets = 0
    for entry in entries:
        if not count:
            yield _HEADER
        count += 1
        octets += entry["message_size"]
        yield from _entry_lines(entry)
        yield ""
    if not count:
        yield "Mail queue is empty"
    else:
        requests = "Request" if count == 1 else "Requests"
        yield f"-- {octets // 1024} Kbytes in {count} {requests}."


def _entry_lines(entry: dict[str, Any]) -> Iterator[str]:
    mark = {"active": "*", "hold": "!"}.get(entry["queue_name"], "")
    name = entry["queue_id"] + mark + ("#" if entry["forced_expire"] else "")
    arrival = time.strftime("%a %b %d %H:%M:%S", time.localtime(entry["arrival_time"]))
    sender = entry["sender"] or "MAILER-DAEMON"
    long_id = len(entry["queue_id"]) > 12
    if long_id:
        yield f"{name:<17} {entry['message_size']:>8} {arrival:<19} {sender}"
    else:
        yield f"{name:<11} {entry['message_size']:>7} {arrival:<20} {sender}"
    reasons: dict[str, list[str]] = {}
    for recipient in entry["recipients"]:
        reasons.setdefault(recipient["delay_reason"], []).append(recipient["address"])
    for reason, addresses in reasons.items():
        if reason:
            yield f"{'':>{max(0, 76 - len(reason))}}({reason})"
        for address in addresses:
            yield f"{'':<41}{address}"
