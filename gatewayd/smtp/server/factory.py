"""One smtpd service of master.cf: its connections, their limits, its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from gatewayd.maillog import MailLog
from gatewayd.smtp import reply_texts
from gatewayd.smtp.content import BareLf
from gatewayd.smtp.limits import Admission, ConnectionCounts
from gatewayd.smtp.ports import Intake, SessionPolicy
from gatewayd.smtp.server.protocol import SmtpdProtocol
from gatewayd.smtp.smtpd_settings import SmtpdSettings
from gatewayd.status import Reply

__all__ = ["Exemptions", "SmtpdFactory"]

NameOf = Callable[[str], Coroutine[Any, Any, str]]

_SHORTEST_SWEEP, _LONGEST_SWEEP = 0.1, 5.0
_V4_MAPPED = "::ffff:"


def _nobody(address: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Exemptions:
    """Clients, by address, for whom a rule doesn't hold; by default both mean $mynetworks."""

    limits: Callable[[str], bool] = _nobody
    """smtpd_client_event_limit_exceptions."""
    bare_lf: Callable[[str], bool] = _nobody
    """smtpd_forbid_bare_newline_exclusions."""


class SmtpdFactory(Factory):
    """Makes and keeps the sessions of one inet service.

    ``name_of`` gives a client's verified host name or ``unknown``. One timer serves all sessions'
    time-outs, so that a command costs no timer of its own; they are late by at most 5 s.
    """

    noisy = False

    def __init__(
        self,
        settings: SmtpdSettings,
        policy: SessionPolicy,
        intake: Intake,
        reactor: Any,
        log: MailLog,
        name_of: NameOf,
        connections: ConnectionCounts,
        *,
        exemptions: Exemptions | None = None,
        service: str = "smtp",
    ) -> None:
        self.intake = intake
        self.reactor = reactor
        self.log = log
        self.name_of = name_of
        self._connections = connections
        self._service = service
        self._protocols: set[SmtpdProtocol] = set()
        self._waiting: deque[SmtpdProtocol] = deque()
        self._sweep: Any = None
        self._patience: Any = None
        self._stopped: Deferred[None] | None = None
        self.reconfigure(settings, policy, exemptions)

    def reconfigure(
        self,
        settings: SmtpdSettings,
        policy: SessionPolicy,
        exemptions: Exemptions | None = None,
    ) -> None:
        """From now on, new sessions get these."""
        self.settings = settings
        self.policy = policy
        self._exemptions = exemptions or Exemptions()
        self._lax_settings = replace(settings, bare_lf=BareLf.ACCEPT, note_bare_lf=False)

    def stop(self, patience: float) -> Deferred[None]:
        """End all sessions: idle ones at once, others after their transaction.

        Fires when the last is gone, at the latest after ``patience`` seconds.
        """
        if self._stopped is None:
            self._stopped = Deferred()
            for protocol in list(self._protocols):
                protocol.shut_down()
            if self._protocols:
                self._patience = self.reactor.callLater(patience, self._abort_all)
            else:
                self._stopped.callback(None)
        done: Deferred[None] = Deferred()
        self._stopped.chainDeferred(done)
        return done

    @property
    def sessions(self) -> int:
        """Connections that are served now."""
        return self._connections.serving

    # What the protocols call

    def buildProtocol(self, addr: Any) -> SmtpdProtocol | None:  # type: ignore[override]
        if self._stopped is not None:
            return None
        address = str(addr.host).partition("%")[0]
        if address.startswith(_V4_MAPPED) and "." in address:
            address = address[len(_V4_MAPPED) :]
        protocol = SmtpdProtocol(address, addr.port)
        protocol.factory = self
        return protocol

    def settings_for(self, address: str) -> SmtpdSettings:
        """The settings for a new session."""
        return self._lax_settings if self._exemptions.bare_lf(address) else self.settings

    def arrived(self, protocol: SmtpdProtocol) -> None:
        """A connection was made: serve it, let it wait, or turn it away."""
        self._protocols.add(protocol)
        settings, address = self.settings, protocol.address
        limit = settings.client_connection_count_limit
        protocol.admission = self._connections.arrived(
            address,
            client_limit=0 if limit and self._exemptions.limits(address) else limit,
            total_limit=settings.process_limit,
        )
        if self._sweep is None:
            self._plan_sweep()
        if protocol.admission is Admission.WAIT:
            self._waiting.append(protocol)
        elif protocol.admission is Admission.BUSY:
            self.log.warning(f"all server ports are busy; client {address} turned away")
            protocol.turn_away(reply_texts.BUSY.format(host=settings.myhostname))
        else:
            protocol.serve()

    def refusal(self, protocol: SmtpdProtocol, client: str) -> Reply | None:
        """What a client with too many connections gets for a banner."""
        if protocol.admission is not Admission.TOO_MANY:
            return None
        address = protocol.address
        self.log.warning(
            f"Connection concurrency limit exceeded: {self._connections.of(address)}"
            f" from {client} for service {self._service}"
        )
        text = f"{self.settings.myhostname} Error: too many connections from {address}"
        return Reply(421, "4.7.0", text)

    def departed(self, protocol: SmtpdProtocol) -> None:
        """A connection has ended; the next that waits has its turn."""
        self._protocols.discard(protocol)
        self._connections.departed(protocol.address, protocol.admission)
        if protocol.admission is Admission.WAIT:
            self._waiting.remove(protocol)
        elif protocol.admission is Admission.SERVE and self._waiting and not self._stopped:
            self._connections.promoted()
            following = self._waiting.popleft()
            following.admission = Admission.SERVE
            following.serve()
        if not self._protocols:
            self._all_gone()

    # Inside

    def _all_gone(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._stopped is not None and not self._stopped.called:
            if self._patience is not None and self._patience.active():
                self._patience.cancel()
            self._stopped.callback(None)

    def _plan_sweep(self) -> None:
        seconds = min(_LONGEST_SWEEP, max(_SHORTEST_SWEEP, self.settings.timeout / 20))
        self._sweep = self.reactor.callLater(seconds, self._check_times)

    def _check_times(self) -> None:
        self._sweep = None
        now = self.reactor.seconds()
        for protocol in list(self._protocols):
            protocol.check_time(now)
        if self._protocols and self._sweep is None:
            self._plan_sweep()

    def _abort_all(self) -> None:
        for protocol in list(self._protocols):
            protocol.abort()
