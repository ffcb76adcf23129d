"""The gateway as a service: start, reload, orderly stop. The only place that knows all parts.

Start: configuration → lock → ports → privileges dropped → queue opened → mail taken and sent.
Reload: everything is made anew beside the old; only if all of it could be made, it takes over.
Stop: no new mail, running deliveries ended or put back, the queue closed.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service as TwistedService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint

from gatewayd import maillog
from gatewayd.config.load import Configuration, load
from gatewayd.control.operator import Ineligible, Operator
from gatewayd.control.peer import Right
from gatewayd.control.server import control_site
from gatewayd.errors import ConfigError, ConfigProblem, GatewayError, StoreError
from gatewayd.listeners import ListenAddress, Listeners
from gatewayd.maillog import MailLog
from gatewayd.message import NewMessage, QueuedMessage
from gatewayd.parts import Parts, Smtpd, make_parts
from gatewayd.process.launching import Launching, users_of
from gatewayd.process.lock import PidFile
from gatewayd.process.privileges import (
    drop_privileges,
    give_folder,
    owner_entry,
    unreadable_code,
)
from gatewayd.process.systemd import say_ready, say_reloading, say_stopping
from gatewayd.queue.dispatch import Dispatcher
from gatewayd.queue.records import Selection
from gatewayd.queue.route_basis import RouteBasis
from gatewayd.queue.sqlite_store import SqliteStore, StoreSettings
from gatewayd.receive.intake import Arrivals, StoreIntake
from gatewayd.receive.internal import NoticeMaker
from gatewayd.receive.maildrop_folder import MaildropFolder
from gatewayd.receive.pickup import Pickup
from gatewayd.smtp.server import ConnectionCounts, SmtpdFactory

__all__ = ["GatewayService", "check"]

log = MailLog("master")


def check(configuration: Configuration) -> tuple[ConfigProblem, ...]:
    """Everything that a start would look at; gives the warnings. Raises ConfigError."""
    from twisted.internet import reactor

    make_parts(configuration, reactor, _no_flush)
    owner_entry(configuration.settings.text("mail_owner"))
    return configuration.warnings


async def _no_flush(site: str) -> bool:
    return False


class GatewayService(TwistedService):
    """One gateway, from the configuration in ``folder``.

    ``started`` is called once mail is accepted. ``exit_status`` is not 0 if the start failed.
    """

    def __init__(
        self, folder: str, reactor: Any, *, started: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = os.path.abspath(folder)
        # Timers go by a clock that nobody sets; the time of day is asked for by its own name.
        reactor.seconds = time.monotonic
        self._reactor = reactor
        self._started = started
        self._listeners = Listeners()
        self._factories: dict[str, SmtpdFactory] = {}
        self._counts: dict[str, ConnectionCounts] = {}
        self._pid_file: PidFile | None = None
        self._parts: Parts | None = None
        self._launching: Launching | None = None
        self._store: SqliteStore | None = None
        self._dispatcher: Dispatcher | None = None
        self._pickup: Pickup | None = None
        self._notices: NoticeMaker | None = None
        self._route_basis: RouteBasis | None = None
        self._control: Any = None
        self._stopping = False
        self._received = 0
        self._since = time.time()
        self.exit_status = 0

    # Start

    def privilegedStartService(self) -> None:
        """Still root, perhaps: lock, ports, folders; then root no more. Raises ConfigError."""
        configuration = load(self._folder)
        settings = configuration.settings
        owner = owner_entry(settings.text("mail_owner"))
        ours = os.geteuid() == 0 and owner.pw_uid != 0
        self._launching = Launching(users_of(configuration.services), self._reactor, start=ours)
        self._parts = make_parts(configuration, self._reactor, self._flush_site, self._launching)
        try:
            self._prepare_folders(configuration, owner)
            self._pid_file = PidFile(settings.text("pid_file"))
            self._pid_file.acquire()
        except OSError as error:
            text = f"{error.filename}: {error.strerror}"
            raise ConfigError([ConfigProblem("main.cf", 0, text)]) from None
        for smtpd in self._parts.smtpds:
            self._listeners.bind(smtpd.addresses)
        user = (owner.pw_uid, owner.pw_gid) if ours else None
        maillog.configure(self._parts.log, self._reactor, user)
        for warning in configuration.warnings:
            log.warning(str(warning))
        drop_privileges(owner)
        if path := unreadable_code():
            log.warning(
                f"{path}: {owner.pw_name} (mail_owner) may not read this; install it elsewhere"
            )
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    @staticmethod
    def _prepare_folders(configuration: Configuration, owner: Any) -> None:
        settings = configuration.settings
        queue = settings.text("queue_directory")
        give_folder(queue, owner, 0o755)
        give_folder(settings.text("data_directory"), owner, 0o750)
        # Anybody may leave mail and see that there is some (a folder that can't be read can't be
        # synced), but touch only the own; what is left has our group, which reads it.
        give_folder(os.path.join(queue, "maildrop"), owner, 0o3777)
        give_folder(os.path.join(queue, "corrupt"), owner, 0o700)

    def startService(self) -> None:
        """Open the queue and begin. A failure stops the reactor, with exit_status."""
        if self._parts is None:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        starting = Deferred.fromCoroutine(self._start())
        starting.addErrback(self._start_failed)

    async def _start(self) -> None:
        parts = self._current()
        settings = parts.configuration.settings
        _tune_interpreter()
        self._store = SqliteStore.from_settings(
            StoreSettings.from_settings(settings), self._reactor
        )
        await self._store.open()
        self._notices = NoticeMaker(parts.intake, self._store, parts.router, time.time)
        self._dispatcher = Dispatcher(
            store=self._store,
            transports=parts.transports,
            settings=parts.dispatch,
            transport_settings=parts.transport_settings,
            reports=parts.reports,
            prepare=self._prepare_notice,
            resolve=lambda sender, recipient: self._current().resolve(sender, recipient),
            rerouted=self._rerouted,
            reactor=self._reactor,
            now=time.time,
        )
        queue = settings.text("queue_directory")
        folder = MaildropFolder(os.path.join(queue, "maildrop"), os.path.join(queue, "corrupt"))
        self._pickup = Pickup(
            folder,
            parts.intake,
            parts.router,
            self._arrivals(),
            self._reactor,
            self._may_submit,
        )
        self._serve(parts)
        await self._listen_control(settings.text("control_socket"))
        basis = self._route_basis = RouteBasis(parts.configuration)
        self._dispatcher.start(routes_changed=not basis.is_recorded)
        self._pickup.start()
        self._handle_signals()
        listening = ", ".join(map(str, self._listeners.serving)) or "nothing"
        log.info(f"daemon started, configuration {self._folder}, listening on {listening}")
        say_ready(f"listening on {listening}")
        self._started()

    def _start_failed(self, failure: Any) -> None:
        self.exit_status = 69
        if failure.check(GatewayError, OSError):
            log.error(f"cannot start: {failure.getErrorMessage()}")
        else:
            log.failure("cannot start", failure)
        sys.stderr.write(f"gatewayd: fatal: {failure.getErrorMessage()}\n")
        self._reactor.callLater(0, self._reactor.stop)

    def _handle_signals(self) -> None:
        signal.signal(signal.SIGHUP, self._hung_up)

    def _hung_up(self, *_: object) -> None:
        self._reactor.callFromThread(self._reload_by_signal)

    def _reload_by_signal(self) -> None:
        Deferred.fromCoroutine(self.reload()).addErrback(
            lambda failure: log.error(f"reload refused: {failure.getErrorMessage()}")
        )

    def _current(self) -> Parts:
        assert self._parts is not None
        return self._parts

    def _arrivals(self) -> Arrivals:
        """Where sessions of the present configuration bring their messages.

        A session that began before a reload has given its recipients the routes of then: its
        messages go by way of the store, where they are looked up again.
        """
        assert self._store is not None
        dispatcher = self._dispatcher
        assert dispatcher is not None
        routed_by = self._current()

        def room() -> bool:
            return self._parts is routed_by and dispatcher.room()

        def submitted(message: QueuedMessage) -> None:
            self._received += 1
            dispatcher.submit(message)

        def stored() -> None:
            self._received += 1
            if self._parts is not routed_by:
                dispatcher.check()

        return Arrivals(self._store, time.time, room, submitted, stored)

    def _rerouted(self) -> None:
        if self._route_basis is not None:
            self._route_basis.record()

    async def _prepare_notice(self, report: Any) -> NewMessage:
        assert self._notices is not None
        return await self._notices.prepare(report)

    # Listeners

    def _serve(self, parts: Parts) -> None:
        for smtpd in parts.smtpds:
            key = smtpd.service.name
            factory = self._factories.get(key)
            if factory is None:
                factory = self._factories[key] = self._factory(smtpd)
            else:
                factory.intake = StoreIntake(smtpd.intake, self._arrivals(), smtpd.is_local)
                factory.name_of = self._name_lookup(smtpd)
                factory.reconfigure(smtpd.settings, smtpd.policy, smtpd.exemptions)
            for address in smtpd.addresses:
                self._listeners.serve(address, factory, self._reactor)

    def _factory(self, smtpd: Smtpd) -> SmtpdFactory:
        counts = self._counts.setdefault(smtpd.service.name, ConnectionCounts())
        return SmtpdFactory(
            smtpd.settings,
            smtpd.policy,
            StoreIntake(smtpd.intake, self._arrivals(), smtpd.is_local),
            self._reactor,
            MailLog("smtpd"),
            self._name_lookup(smtpd),
            counts,
            exemptions=smtpd.exemptions,
            service=smtpd.service.name,
        )

    def _name_lookup(self, smtpd: Smtpd) -> Callable[[str], Any]:
        if smtpd.lookup_names:
            return self._current().resolver.reverse_name
        return _unknown

    async def _listen_control(self, path: str) -> None:
        assert self._store is not None
        operator = Operator(self._store, self)
        site = control_site(operator, self, lambda: self._current().permissions, self._reactor)
        if os.path.exists(path):
            os.unlink(path)
        endpoint = UNIXServerEndpoint(self._reactor, path, mode=0o666, wantPID=False)
        try:
            self._control = await endpoint.listen(site)
        except Exception as error:
            raise StoreError(f"cannot listen on {path}: {error}") from None

    async def _may_submit(self, user_id: int) -> bool:
        return await self._current().permissions.allows(user_id, Right.SUBMIT)

    # RunningGateway, for the control socket

    async def flush(self, selection: Selection) -> None:
        """Deliver what waits there now. Raises Ineligible, TableError."""
        assert self._dispatcher is not None
        site = selection.site
        if site is not None and not await self._current().flush_domains.matches(site):
            raise Ineligible(site)
        self._dispatcher.flush(selection)

    async def _flush_site(self, site: str) -> bool:
        if self._dispatcher is None or self._stopping:
            return False
        self._dispatcher.flush(Selection(site=site))
        return True

    async def reload(self) -> tuple[str, ...]:
        """All or nothing. Raises ConfigError; then everything stays as it was."""
        say_reloading()
        outcome = "reload refused"
        try:
            warnings = self._reload()
            outcome = "reloaded"
        except ConfigError as error:
            for problem in error.problems:
                log.error(f"reload refused: {problem}")
            raise
        finally:
            say_ready(outcome)
        return warnings

    def _reload(self) -> tuple[str, ...]:
        assert self._dispatcher is not None
        assert self._pickup is not None
        old = self._current()
        configuration = load(self._folder)
        parts = make_parts(configuration, self._reactor, self._flush_site, self._launching)
        wanted = [address for smtpd in parts.smtpds for address in smtpd.addresses]
        self._listeners.bind(wanted)
        maillog.configure(parts.log, self._reactor)
        self._parts = parts
        self._serve(parts)
        self._close_unwanted(wanted)
        self._pickup.settings, self._pickup.router = parts.intake, parts.router
        self._pickup.arrivals = self._arrivals()
        assert self._store is not None
        self._notices = NoticeMaker(parts.intake, self._store, parts.router, time.time)
        self._route_basis = RouteBasis(configuration)
        self._dispatcher.reload(parts.dispatch, parts.transports, parts.transport_settings)
        old.resolver.close()
        warnings = tuple(str(warning) for warning in configuration.warnings)
        for warning in warnings:
            log.warning(warning)
        log.info(f"reload -- configuration {self._folder}")
        return warnings

    def _close_unwanted(self, wanted: list[ListenAddress]) -> None:
        unwanted = [each for each in self._listeners.serving if each not in wanted]
        if unwanted:
            self._listeners.close(unwanted)

    def stop(self) -> None:
        """Begin the orderly stop."""
        self._reactor.callLater(0, self._reactor.stop)

    def pick_up(self) -> None:
        """Look into the maildrop folder."""
        if self._pickup is not None:
            self._pickup.look()

    def queue_changed(self) -> None:
        """An operator has released or expired something: look now."""
        if self._dispatcher is not None:
            self._dispatcher.check()

    def status(self) -> dict[str, Any]:
        """For people and metrics."""
        assert self._dispatcher is not None
        dispatch = self._dispatcher.status()
        sessions = sum(factory.sessions for factory in self._factories.values())
        return {
            "configuration": self._folder,
            "since": self._since,
            "listening": [str(address) for address in self._listeners.serving],
            "transports": sorted(self._current().transports),
            "destinations": [
                {
                    "destination": f"{each.transport}:{each.nexthop}",
                    "waiting": each.waiting,
                    "lanes": each.lanes,
                    "window": each.window,
                    "suspended": each.suspended,
                }
                for each in dispatch.destinations[:100]
            ],
            "gauges": {
                "active_messages": dispatch.messages,
                "active_recipients": dispatch.recipients,
                "smtpd_sessions": sessions,
                "start_time_seconds": self._since,
            },
            "counters": {"received": self._received},
        }

    # Stop

    def stopService(self) -> Deferred[None]:
        """The orderly stop; fires when it's safe to exit."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        say_stopping()
        bound = 30.0
        if self._parts is not None:
            bound = self._parts.configuration.settings.seconds("stop_time_limit")
        await self._listeners.close()
        if self._control is not None:
            await self._control.stopListening()
        for factory in self._factories.values():
            await factory.stop(min(5.0, bound))
        if self._pickup is not None:
            await self._pickup.stop()
        if self._dispatcher is not None:
            await self._dispatcher.stop(bound)
        if self._parts is not None:
            self._parts.resolver.close()
        if self._store is not None:
            await self._store.close()
        if self._launching is not None:
            self._launching.close()
        if self._pid_file is not None:
            self._pid_file.release()
        log.info("terminating")
        maillog.flush()


def _tune_interpreter() -> None:
    """What measurably helps: docs/benchmarks.md.

    The reactor gives the interpreter away with each of a message's thirty system calls, and the
    queue's thread may take it then: the reactor has it back after a millisecond, not after five.
    What was made at the start stays: the collector need not look at it again, nor come after
    every few hundred of the short-lived objects that each message makes.
    """
    sys.setswitchinterval(0.001)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20000, 20, 20)


async def _unknown(address: str) -> str:
    return "unknown"
