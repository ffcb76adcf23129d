"""How much of the queue may be active at once, and who waits for room."""

from __future__ import annotations

from twisted.internet.defer import Deferred

__all__ = ["Room"]

_SHARE = 20
"""Once active is half full, a destination with a 20th of it waiting gets no more for now."""


class Room:
    """Counts active messages and their recipients against their limits.

    A message with more recipients than the limit is taken when there is any room at all, so that
    it isn't left behind for ever.
    """

    def __init__(self, messages_limit: int, recipients_limit: int) -> None:
        self.messages = 0
        self.recipients = 0
        self._waiters: list[tuple[bool, Deferred[None]]] = []
        self.limit(messages_limit, recipients_limit)

    def limit(self, messages: int, recipients: int) -> None:
        self._messages_limit = messages
        self._recipients_limit = recipients
        self.share = max(1, messages // _SHARE)

    def enter(self, recipients: int) -> None:
        self.messages += 1
        self.recipients += recipients

    def leave(self, recipients: int) -> None:
        self.messages -= 1
        self.recipients -= recipients

    @property
    def space(self) -> int:
        """For how many more messages there is room."""
        if self.recipients >= self._recipients_limit:
            return 0
        return max(0, self._messages_limit - self.messages)

    @property
    def is_crowded(self) -> bool:
        """Half full: from here on nobody may take more than a share."""
        return self.messages > 0 and (
            2 * self.messages >= self._messages_limit
            or 2 * self.recipients >= self._recipients_limit
        )

    @property
    def is_airy(self) -> bool:
        """So much has left that it's worth asking the store for more."""
        return (
            4 * self.messages <= 3 * self._messages_limit
            and 4 * self.recipients <= 3 * self._recipients_limit
        )

    def when_free(self, comfortable: bool) -> Deferred[None]:
        """Fires when there is room; ``comfortable``: when it isn't even crowded."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append((comfortable, waiter))
        self.tell()
        return waiter

    def tell(self) -> None:
        """Somebody may have left: let those go on who wait for that."""
        if not self._waiters or not self.space:
            return
        waiters, self._waiters = self._waiters, []
        for comfortable, waiter in waiters:
            if waiter.called:
                continue
            if comfortable and self.is_crowded:
                self._waiters.append((comfortable, waiter))
            else:
                waiter.callback(None)
