"""postsuper: change what waits in the queue (postfix.md §9).

    postsuper [-c DIR] [-s] [-d ID] [-h ID] [-H ID] [-r ID] [-e ID] [-f ID] [queue …]

ID is a queue ID, ``ALL``, or ``-`` for IDs from standard input. ``-s`` checks the queue's
structure while the daemon is down, and mends it.
"""

from __future__ import annotations

import getopt
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gatewayd.cli.place import fail, settings_in
from gatewayd.cli.queue_access import ControlRefused, QueueAccess, open_queue
from gatewayd.errors import StoreError

__all__ = ["main"]

_USAGE = (
    "usage: postsuper [-v] [-c DIR] [-s] [-d|-e|-f|-h|-H|-r ID|ALL|-] … [queue …]\n"
    "queues: active deferred hold corrupt"
)
_QUEUE_ID = re.compile(r"[0-9A-Za-z]{5,64}\Z")
_BATCH = 1000
"""Queue IDs sent with one request."""


@dataclass(frozen=True, slots=True)
class _Verb:
    """An option: what is asked of the queue, and the words it's reported with."""

    name: str
    each: str
    total: str
    states: tuple[str, ...] | None = None


_VERBS = {
    "-d": _Verb("delete", "removed", "Deleted"),
    "-e": _Verb("expire", "expired", "Force-expired"),
    "-f": _Verb("expire", "expired", "Force-expired"),
    "-h": _Verb("hold", "placed on hold", "Placed on hold", ("active", "deferred")),
    "-H": _Verb("unhold", "released from hold", "Released from hold", ("hold",)),
    "-r": _Verb("requeue", "requeued", "Requeued"),
}


def main(arguments: list[str]) -> int:
    """The command; exit status 0, 1 (refused) or 64 (usage)."""
    try:
        options, queues = getopt.getopt(arguments, "c:d:e:f:h:H:r:psSv", ["help"])
    except getopt.GetoptError as error:
        print(f"postsuper: fatal: {error}\n{_USAGE}", file=sys.stderr)
        return 64
    if ("--help", "") in options:
        print(_USAGE)
        return 0
    unknown = sorted(set(queues) - {"active", "deferred", "hold", "corrupt", "incoming"})
    if unknown:
        return fail("postsuper", f"invalid queue name: {unknown[0]}", 64)
    folder = next((value for name, value in options if name == "-c"), None)
    settings = settings_in(folder)
    if os.geteuid() not in (0, _owner_of(settings.text("queue_directory"))):
        return fail("postsuper", "use of this command is reserved for the superuser", 1)
    try:
        if ("-s", "") in options:
            _mend(settings.text("queue_directory"))
        asked = [(_VERBS[name], value) for name, value in options if name in _VERBS]
        if asked:
            queue = open_queue(settings)
            for verb, value in asked:
                _apply(queue, verb, value, queues)
    except (ControlRefused, StoreError) as refused:
        return fail("postsuper", str(refused), 1)
    except _BadQueueId as error:
        return fail("postsuper", f"invalid queue ID: {error}", 64)
    return 0


class _BadQueueId(Exception):
    pass


def _owner_of(folder: str) -> int:
    try:
        return os.stat(folder).st_uid
    except OSError:
        return 0


def _mend(folder: str) -> None:
    from gatewayd.queue.salvage import salvage

    done = salvage(folder)
    if done is None:
        print(f"postsuper: {folder}: no damage found", file=sys.stderr)
    else:
        text = f"{done.saved} messages salvaged, {done.lost} lost; the rest is kept in {done.kept}"
        print(f"postsuper: {folder}: {text}", file=sys.stderr)


def _apply(queue: QueueAccess, verb: _Verb, value: str, queues: list[str]) -> None:
    states = list(verb.states or queues or ())
    if verb.states and queues:
        states = [state for state in verb.states if state in queues]
    selection: dict[str, Any] = {"states": states} if states else {}
    if value == "ALL":
        count = queue.change(verb.name, selection)["count"]
    else:
        named = sys.stdin if value == "-" else [value]
        count = sum(_apply_ids(queue, verb, ids, selection) for ids in _batches(named))
    if count:
        plural = "message" if count == 1 else "messages"
        print(f"postsuper: {verb.total}: {count} {plural}", file=sys.stderr)


def _apply_ids(queue: QueueAccess, verb: _Verb, ids: list[str], selection: dict[str, Any]) -> int:
    answer = queue.change(verb.name, {**selection, "ids": ids})
    for queue_id in answer["ids"]:
        print(f"postsuper: {queue_id}: {verb.each}", file=sys.stderr)
    return int(answer["count"])


def _batches(lines: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    for line in lines:
        queue_id = line.strip().rstrip("*!#")
        if not queue_id:
            continue
        if not _QUEUE_ID.match(queue_id):
            raise _BadQueueId(queue_id)
        batch.append(queue_id)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
