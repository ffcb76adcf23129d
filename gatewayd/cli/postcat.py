"""postcat: show messages in the queue.

    postcat [-c DIR] [-behoqv] QUEUE_ID …

-e envelope, -h header, -b body; all three by default. -q (look it up in the queue) is implied.
"""

from __future__ import annotations

import getopt
import sys
import time
from collections.abc import Iterator
from typing import Any

from gatewayd.cli.place import fail, settings_in
from gatewayd.cli.queue_access import ControlRefused, QueueAccess, open_queue

__all__ = ["main"]

_USAGE = "usage: postcat [-c DIR] [-behoqv] QUEUE_ID …"


def main(arguments: list[str]) -> int:
    """The command; exit status 0, 1 (no such message) or 64 (usage)."""
    try:
        options, queue_ids = getopt.getopt(arguments, "c:bdehoqv", ["help"])
    except getopt.GetoptError as error:
        print(f"postcat: fatal: {error}\n{_USAGE}", file=sys.stderr)
        return 64
    names = {name for name, _ in options}
    if "--help" in names:
        print(_USAGE)
        return 0
    if not queue_ids:
        print(_USAGE, file=sys.stderr)
        return 64
    settings = settings_in(next((v for n, v in options if n == "-c"), None))
    parts = {name[1] for name in names & {"-b", "-e", "-h"}} or {"b", "e", "h"}
    try:
        queue = open_queue(settings)
        for queue_id in queue_ids:
            _show(queue, queue_id, parts)
    except ControlRefused as refused:
        text = f"open queue file {queue_id}: No such file or directory"
        return fail("postcat", text if refused.code == 404 else str(refused), 1)
    return 0


def _show(queue: QueueAccess, queue_id: str, parts: set[str]) -> None:
    write = sys.stdout.buffer.write
    whole = parts == {"b", "e", "h"}
    if "e" in parts:
        message = queue.message(queue_id)
        write(f"*** ENVELOPE RECORDS {queue_id} ***\n".encode())
        for line in _envelope_lines(message):
            write(line.encode("utf-8", "replace") + b"\n")
    if whole:
        write(f"*** MESSAGE CONTENTS {queue_id} ***\n".encode())
    if parts & {"b", "h"}:
        for octets in _parts(queue.content(queue_id), parts):
            write(octets.replace(b"\r\n", b"\n"))
    if whole:
        write(f"*** MESSAGE FILE END {queue_id} ***\n".encode())
    sys.stdout.flush()


def _envelope_lines(message: dict[str, Any]) -> Iterator[str]:
    arrival = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(message["arrival_time"]))
    yield f"message_size: {message['message_size']:>15} {len(message['recipients']):>15}"
    yield f"message_arrival_time: {arrival}"
    for name in ("client_name", "client_address", "helo", "protocol", "envid", "ret", "body"):
        if message[name]:
            yield f"named_attribute: {name}={message[name]}"
    yield f"sender: {message['sender']}"
    for recipient in message["recipients"]:
        if recipient["orcpt"]:
            yield f"named_attribute: dsn_orig_rcpt={recipient['orcpt']}"
        yield f"original_recipient: {recipient['original'] or recipient['address']}"
        yield f"recipient: {recipient['address']}"
        yield f"named_attribute: route={recipient['transport']}:{recipient['nexthop']}"
        if recipient["reason"]:
            yield f"named_attribute: delay_reason={recipient['reason']}"


def _parts(pieces: Iterator[bytes], parts: set[str]) -> Iterator[bytes]:
    """The asked-for parts of a content. The empty line goes with the header."""
    header = b""
    for piece in pieces:
        looked = max(0, len(header) - 3)
        header += piece
        end = header.find(b"\r\n\r\n", looked)
        if end >= 0:
            break
    else:
        end = len(header)
    if "h" in parts:
        yield header[: end + (4 if "b" in parts else 2)]
    if "b" in parts:
        yield header[end + 4 :]
        yield from pieces
