"""A policy asked by SMTP commands in text, as a session would ask it; no network, no reactor."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from gatewayd.access.policy import Policy
from gatewayd.config.load import make_settings
from gatewayd.config.main_cf import Assignment
from gatewayd.config.settings import Settings
from gatewayd.message import Origin, Recipient
from gatewayd.routing.router import Router
from gatewayd.smtp.grammar import (
    CommandError,
    etrn_site,
    forward_path,
    reverse_path,
    verify_address,
)
from gatewayd.smtp.ports import Transaction
from gatewayd.status import Reply

T = TypeVar("T")

OWN = ("127.0.0.1", "::1")


def answer(coroutine: Coroutine[Any, Any, T] | Awaitable[T]) -> T:
    """The result of a coroutine that has no reason to wait; fails if it waits."""
    assert isinstance(coroutine, Coroutine)
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        return stopped.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


def settings_of(configuration: dict[str, str]) -> Settings:
    """Settings that main.cf would give, each parameter on a line of its own."""
    assignments = {
        name: Assignment(name, value, "main.cf", line)
        for line, (name, value) in enumerate(configuration.items(), 1)
    }
    return make_settings("/nowhere", assignments, "postfix.test")


class Flush:
    """Records which sites were asked for."""

    def __init__(self, works: bool = True) -> None:
        self.sites: list[str] = []
        self.works = works

    async def __call__(self, site: str) -> bool:
        self.sites.append(site)
        return self.works


def make_policy(configuration: dict[str, str], flush: Flush | None = None) -> Policy:
    """The policy of a configuration."""
    settings = settings_of(configuration)
    router = Router.from_settings(settings, OWN)
    return Policy.from_settings(settings, router, flush or Flush(), OWN)


class Asking:
    """One connection of a client. ``tell`` takes a command, gives ``CODE [STATUS ]TEXT``."""

    def __init__(self, policy: Policy, address: str = "127.0.0.1", name: str = "unknown") -> None:
        self.policy = policy
        self.peer = Origin(protocol="ESMTP", client_name=name, client_address=address)
        self.transaction: Transaction | None = None

    def connect(self) -> str:
        return str(answer(self.policy.connected(self.peer)) or "220")

    def tell(self, command: str) -> str:
        try:
            return str(self._told(command))
        except CommandError as error:
            return error.reply

    def _told(self, command: str) -> Reply | str:
        verb, _, argument = command.partition(" ")
        if verb in ("EHLO", "HELO"):
            self.peer = replace(self.peer, helo=argument)
            return answer(self.policy.greeted(self.peer)) or "250"
        if verb == "RSET":
            self.transaction = None
            return "250"
        if verb == "MAIL":
            return self._mail(argument)
        if verb == "RCPT":
            return self._recipient(argument)
        if verb == "ETRN":
            return answer(self.policy.etrn(self.peer, etrn_site(argument)))
        if verb == "VRFY":
            return answer(self.policy.verify(self.peer, verify_address(argument)[0]))
        assert verb == "DATA"
        assert self.transaction is not None
        return answer(self.policy.data(self.peer, self.transaction)) or "354"

    def _mail(self, argument: str) -> Reply | str:
        self.transaction = Transaction(reverse_path(argument)[0])
        refusal = answer(self.policy.sender(self.peer, self.transaction))
        if refusal is not None:
            self.transaction = None
        return refusal or "250"

    def _recipient(self, argument: str) -> Reply | str:
        transaction = self.transaction
        if transaction is None:
            return "503 5.5.1 Error: need MAIL command"
        decided = answer(self.policy.recipient(self.peer, transaction, forward_path(argument)[0]))
        if isinstance(decided, Recipient):
            recipients = (*transaction.recipients, decided)
            self.transaction = replace(transaction, recipients=recipients)
            return "250"
        return decided
