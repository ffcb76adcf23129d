"""The queue as commands reach it: through the daemon, or directly while it's down.

Directly means: this process opens the store itself, which takes the same lock as the daemon does,
so the two never write at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from gatewayd.cli.place import control_client
from gatewayd.config.settings import Settings
from gatewayd.control.client import ControlClient, ControlRefused, DaemonDown

__all__ = ["ControlRefused", "QueueAccess", "open_queue"]


class QueueAccess(Protocol):
    """What the commands do with the queue. All raise ControlRefused with a text."""

    def listing(self, **selection: Any) -> Iterator[dict[str, Any]]:
        """Messages, each as GET /queue gives it."""

    def change(self, verb: str, selection: Mapping[str, Any]) -> dict[str, Any]:
        """As POST /VERB answers."""

    def message(self, queue_id: str) -> dict[str, Any]:
        """As GET /message/ID answers; a 404 refusal if there is none."""

    def content(self, queue_id: str) -> Iterator[bytes]:
        """A message's octets."""


class _ThroughDaemon:
    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def listing(self, **selection: Any) -> Iterator[dict[str, Any]]:
        return self._client.lines("queue", **selection)

    def change(self, verb: str, selection: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.post(verb, selection)
        return answer

    def message(self, queue_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.get("message", queue_id)
        return answer

    def content(self, queue_id: str) -> Iterator[bytes]:
        return self._client.content("message", queue_id, "content")


def open_queue(settings: Settings) -> QueueAccess:
    """The daemon's queue if it runs, else the queue itself. Raises ControlRefused."""
    client = control_client(settings)
    try:
        client.get("status")
    except DaemonDown:
        from gatewayd.cli.queue_offline import OfflineQueue

        return OfflineQueue(settings)
    except ControlRefused as refused:
        if refused.code != 403:
            raise
    return _ThroughDaemon(client)
