"""What a session asks and has done, carried out: by the policy, the queue, the log, the clock."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from gatewayd.errors import StoreError, StoreFull
from gatewayd.maillog import MailLog
from gatewayd.smtp import reply_texts
from gatewayd.smtp.ports import Incoming, Intake, Refused, SessionPolicy
from gatewayd.smtp.server.eager import first_step
from gatewayd.smtp.session import Session
from gatewayd.smtp.session_events import (
    Abort,
    Begin,
    Close,
    Commit,
    Content,
    Event,
    Logged,
    PolicyQuestion,
    Sleep,
)
from gatewayd.status import Reply

__all__ = ["Conversation"]

# So many events of one client, then the others have their turn.
_EVENTS_A_TURN = 200


class Conversation:
    """Drives one session. ``go_on`` is called when something that held it up is over.

    A message that is being committed when the client is lost is committed nevertheless: its
    sender cannot know whether it was, and will send it again (RFC 5321 §4.5.5).
    """

    def __init__(
        self,
        session: Session,
        policy: SessionPolicy,
        intake: Intake,
        reactor: Any,
        log: MailLog,
        go_on: Callable[[], None],
    ) -> None:
        self.session = session
        self.is_closed = False
        self.waiting_since = 0.0
        self._policy = policy
        self._intake = intake
        self._reactor = reactor
        self._log = log
        self._go_on = go_on
        self._incoming: Incoming | None = None
        self._waiting: Deferred[Any] | None = None
        self._commits = False
        self._call: Any = None

    @property
    def is_held_up(self) -> bool:
        """Whether it's the gateway's turn, not the client's: nothing more is to be read."""
        return self._waiting is not None or self._call is not None

    @property
    def is_awaiting(self) -> bool:
        """Whether an answer is awaited, since ``waiting_since``."""
        return self._waiting is not None

    def advance(self) -> None:
        """Do all that can be done now."""
        next_event = self.session.next_event
        for _ in range(_EVENTS_A_TURN):
            if self._waiting is not None or self._call is not None:
                return
            event = next_event()
            if event is None:
                return
            _CARRY_OUT[type(event)](self, event)
        self._later(0)

    def give_up_waiting(self) -> None:
        """The answer has taken too long: the session goes on with a temporary failure."""
        if self._waiting is not None:
            self._waiting.cancel()

    def lost(self) -> None:
        """The client is gone."""
        self.is_closed = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._incoming is not None and not self._commits:
            self._incoming.abort()
            self._incoming = None
        if self._waiting is not None and not self._commits:
            self._waiting.cancel()

    # Events, each by its own method

    def _ask_policy(self, event: PolicyQuestion) -> None:
        self._run(event.put(self._policy))

    def _begin(self, event: Begin) -> None:
        try:
            self._incoming = self._intake.begin(event.envelope, event.recipients)
        except Exception as error:
            self.session.answer(self._refusal(error))
        else:
            self.session.answer(self._incoming.queue_id)

    def _content(self, event: Content) -> None:
        if self._incoming is None:
            return
        try:
            written = self._incoming.write(event.octets)
        except Exception as error:
            self._content_refused(error)
            return
        if written is not None:
            self._hold(written, self._written, self._write_failed)

    def _written(self, _: None) -> None:
        self._released()

    def _write_failed(self, failure: Failure) -> None:
        self._content_refused(_cause(failure))
        self._released()

    def _content_refused(self, error: BaseException) -> None:
        self._incoming = None
        self.session.refuse_content(self._refusal(error))

    def _commit(self, event: Commit) -> None:
        incoming = self._incoming
        assert incoming is not None
        self._commits = True
        self._run(incoming.commit())

    def _abort(self, event: Abort) -> None:
        if self._incoming is not None:
            self._incoming.abort()
            self._incoming = None

    def _logged(self, event: Logged) -> None:
        say = self._log.warning if event.warning else self._log.info
        if event.queue_id:
            say(event.text, queue_id=event.queue_id)
        else:
            say(event.text)

    def _sleep(self, event: Sleep) -> None:
        self._later(event.seconds, self.session.resume)

    def _close(self, event: Close) -> None:
        self.is_closed = True

    # Answers

    def _run(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Answer the session with what a coroutine gives, now or later."""
        try:
            value, waiting = first_step(coroutine)
        except Exception as error:
            self._answer(self._refusal(error))
            return
        if waiting is None:
            self._answer(value)
        else:
            self._hold(waiting, self._answered, self._answer_failed)

    def _answer(self, value: object) -> None:
        if self._commits:
            self._commits = False
            self._incoming = None
            if not isinstance(value, Reply):
                value = None
        self.session.answer(value)

    def _answered(self, value: object) -> None:
        self._answer(value)
        self._released()

    def _answer_failed(self, failure: Failure) -> None:
        self._answer(self._refusal(_cause(failure)))
        self._released()

    def _hold(
        self,
        waiting: Deferred[Any],
        done: Callable[[Any], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self._waiting = waiting
        self.waiting_since = self._reactor.seconds()
        waiting.addCallbacks(done, failed)
        waiting.addErrback(lambda failure: self._log.failure("smtpd session", failure))

    def _released(self) -> None:
        self._waiting = None
        if not self.is_closed:
            self._go_on()

    def _later(self, seconds: float, then: Callable[[], None] | None = None) -> None:
        def wake() -> None:
            self._call = None
            if then is not None:
                then()
            self._go_on()

        self._call = self._reactor.callLater(seconds, wake)

    def _refusal(self, error: BaseException) -> Reply:
        """What a client is told about an error; one that nobody foresaw is logged in full."""
        if isinstance(error, Refused):
            return error.reply
        if isinstance(error, StoreFull):
            return reply_texts.STORE_FULL
        if isinstance(error, StoreError):
            self._log.warning(f"queue file write error: {error}")
            return reply_texts.STORE_ERROR
        if not isinstance(error, CancelledError):
            self._log.failure("smtpd: no answer to a client", error)
        return reply_texts.STORE_ERROR if self._commits else reply_texts.NO_ANSWER


def _cause(failure: Failure) -> BaseException:
    assert failure.value is not None
    return failure.value


class _CarryOut(dict[type[Event], Callable[[Conversation, Any], None]]):
    """Event type to method; a question of any kind goes to the policy."""

    def __missing__(self, kind: type[Event]) -> Callable[[Conversation, Any], None]:
        if not issubclass(kind, PolicyQuestion):
            raise KeyError(kind)
        self[kind] = Conversation._ask_policy
        return self[kind]


_CARRY_OUT = _CarryOut(
    {
        Abort: Conversation._abort,
        Begin: Conversation._begin,
        Close: Conversation._close,
        Commit: Conversation._commit,
        Content: Conversation._content,
        Logged: Conversation._logged,
        Sleep: Conversation._sleep,
    }
)
