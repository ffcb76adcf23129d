"""Delivery to a command: one process for each request, no shell, clean environment."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from gatewayd.errors import ConfigError, ConfigProblem, StoreError
from gatewayd.interfaces import IRequestSource, ITransport
from gatewayd.maillog import MailLog
from gatewayd.message import Content, DeliveryRequest, QueuedRecipient
from gatewayd.plugins.pipe.attributes import Attributes, parse_attributes
from gatewayd.plugins.pipe.command import Command, CommandFailed, Place, start_command
from gatewayd.plugins.pipe.exits import ended, timed_out
from gatewayd.plugins.pipe.form import BodyForm, delivered_to, has_delivered_to, leading_headers
from gatewayd.plugins.pipe.macros import BadMacro, by_bytes, command_line
from gatewayd.status import Outcome, deferred, failed
from gatewayd.transport import TransportContext

__all__ = ["PipeTransport", "make"]

_PIECE = 1 << 16
_HEADER_LOOK = 1 << 17
_PATH = "/usr/bin:/bin"
_MISCONFIGURED = deferred("4.3.5", "mail system configuration error")


@dataclass(frozen=True, slots=True)
class _Settings:
    """What main.cf says for a pipe service. Times are seconds."""

    time_limit: float
    delimiters: str
    recipient_limit: int
    original_recipient: bool
    folder: str
    environment: dict[str, str]


def make(context: TransportContext) -> ITransport:
    """The transport of one master.cf service. Raises ConfigError."""
    service, settings = context.service, context.settings
    owner, group = settings.text("mail_owner"), settings.text("setgid_group")
    attributes = parse_attributes(service, owner if os.geteuid() == 0 else "", (group,))
    if not _may_run_as(attributes.user, context.launcher):
        text = f"service {service.name}: user={attributes.user_name} needs a new start, as root"
        raise ConfigError([ConfigProblem(service.file, service.line, text)])
    chosen = _Settings(
        time_limit=settings.transport_seconds(service.name, "time_limit"),
        delimiters=settings.text("recipient_delimiter"),
        recipient_limit=settings.transport_number(service.name, "destination_recipient_limit"),
        original_recipient=settings.flag("enable_original_recipient"),
        folder=settings.text("queue_directory"),
        environment=_environment(settings.words("export_environment")),
    )
    return PipeTransport(service.name, attributes, chosen, context)


def _may_run_as(user: tuple[int, int], launcher: Any) -> bool:
    """``launcher`` knows the users that were there at the start; a check has none."""
    if user[0] == os.geteuid():
        return True
    return bool(launcher.may_run_as(user)) if launcher is not None else os.geteuid() == 0


def _environment(words: tuple[str, ...]) -> dict[str, str]:
    """NAME (if it's set) and NAME=value of export_environment, and a PATH of our own."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    found["PATH"] = _PATH
    return found


@implementer(ITransport)
class PipeTransport:
    """See ITransport."""

    def __init__(
        self, name: str, attributes: Attributes, settings: _Settings, context: TransportContext
    ) -> None:
        self._name = name
        self._attributes = attributes
        self._settings = settings
        self._launcher = context.launcher
        self._reactor = context.reactor
        self._now = context.now
        self._log = MailLog("pipe" if name == "pipe" else f"{name}/pipe")

    async def deliver(self, nexthop: str, source: IRequestSource) -> None:
        """One command after the other. Raises TransportBroken."""
        while (request := source.take()) is not None:
            outcome = await self._deliver(nexthop, request)
            source.done(request, {each.number: outcome for each in request.recipients})

    def close(self) -> Deferred[None]:
        """Commands end with their lanes."""
        return succeed(None)

    async def _deliver(self, nexthop: str, request: DeliveryRequest) -> Outcome:
        attributes = self._attributes
        recipients = by_bytes(request.recipients)
        refusal = await self._refusal(request, recipients)
        if refusal is not None:
            return refusal
        try:
            argv = command_line(attributes, request, recipients, nexthop, self._settings.delimiters)
        except BadMacro as error:
            self._log.error(f"{request.queue_id}: {error}", queue_id=request.queue_id)
            return _MISCONFIGURED
        return await self._run(request, recipients, argv)

    async def _refusal(
        self, request: DeliveryRequest, recipients: list[QueuedRecipient]
    ) -> Outcome | None:
        """Why there's no need to start the command."""
        attributes = self._attributes
        if attributes.size and request.message.size > attributes.size:
            return failed("5.2.3", "message too large", relay=self._name)
        one_by_one = self._settings.recipient_limit == 1
        wants_original = "O" in attributes.flags and self._settings.original_recipient
        if ("D" in attributes.flags or wants_original) and not one_by_one:
            self._log.error(
                f"flags D and O need {self._name}_destination_recipient_limit = 1",
                queue_id=request.queue_id,
            )
            return _MISCONFIGURED
        if "D" in attributes.flags:
            address = delivered_to(recipients[0])
            octets = await request.message.content.read(0, _HEADER_LOOK)
            header = octets.partition(b"\r\n\r\n")[0]
            if has_delivered_to(header, address):
                return failed("5.4.6", f"mail forwarding loop for {address}", relay=self._name)
        return None

    async def _run(
        self, request: DeliveryRequest, recipients: list[QueuedRecipient], argv: list[str]
    ) -> Outcome:
        attributes, settings = self._attributes, self._settings
        place = Place(
            user=attributes.user,
            folder=attributes.directory or settings.folder,
            root=attributes.chroot,
            environment=settings.environment,
        )
        shown = shlex.join(attributes.argv)
        try:
            command = await start_command(argv, place, self._launcher, self._reactor)
        except CommandFailed as error:
            self._log.warning(f"{request.queue_id}: {error}", queue_id=request.queue_id)
            return deferred(
                "4.3.0", f"temporary failure. Command output: {error}", relay=self._name
            )
        is_late = False

        def late() -> None:
            nonlocal is_late
            is_late = True
            command.kill()

        limit = settings.time_limit
        timer = self._reactor.callLater(limit, late) if limit else None
        try:
            await self._feed(command, request, recipients)
            status, output = await command.ended()
        except StoreError as error:
            self._log.error(f"{request.queue_id}: {error}", queue_id=request.queue_id)
            return deferred("4.3.0", "queue file read error", relay=self._name)
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            command.close()
        if is_late:
            return timed_out(shown)
        return ended(status, output, self._name, shown, is_final="X" in attributes.flags)

    async def _feed(
        self, command: Command, request: DeliveryRequest, recipients: list[QueuedRecipient]
    ) -> None:
        """The message to the command's standard input; one that doesn't read it may."""
        content: Content = request.message.content
        form = BodyForm(self._attributes)
        head = leading_headers(self._attributes, request, recipients, self._now())
        await command.write(head.replace(b"\r\n", self._attributes.eol))
        offset = 0
        while offset < content.size and command.is_reading:
            octets = await content.read(offset, _PIECE)
            if not octets:
                raise StoreError(f"content ends at {offset} of {content.size} octets")
            offset += len(octets)
            await command.write(form.feed(octets))
        await command.write(form.finish())
        command.end_input()
