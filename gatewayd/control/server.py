"""The control socket: HTTP/1.1 and JSON over a Unix socket.

| request | right | answer |
|---|---|---|
| GET /status | list | JSON object |
| GET /metrics | list | Prometheus text |
| GET /queue?site=…&ids=…&states=… | list | a JSON object a line |
| GET /message/ID | operate | JSON object |
| GET /message/ID/content | operate | the octets |
| POST /flush {selection} | flush | {}; 409 for a site that is not in fast_flush_domains |
| POST /hold, /unhold, /delete, /expire, /requeue {selection} | operate | {"count", "ids"} |
| POST /pickup | submit | {} |
| POST /reload | operate | {"warnings": […]}; 409 {"errors": […]} |
| POST /stop | operate | {} |

A refusal is 403, an unknown thing 404, a bad request 400, one too large 413, a store in trouble
503; each has {"error": text}. Every local user may connect: what one may make us hold is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from gatewayd.control.connections import LimitedByUser
from gatewayd.control.exchange import BoundedRequest, Pacing
from gatewayd.control.metrics import render_metrics
from gatewayd.control.operator import (
    Ineligible,
    Operator,
    RunningGateway,
    UnknownVerb,
    selection_from,
)
from gatewayd.control.peer import Permissions, Right, peer_user_id
from gatewayd.errors import ConfigError, StoreError, TableError
from gatewayd.maillog import MailLog
from gatewayd.queue.records import Selection

__all__ = ["control_site"]

_CONTENT_PIECE = 1 << 16
_VERBS = frozenset({"hold", "unhold", "delete", "expire", "requeue"})

log = MailLog("control")


@dataclass(frozen=True, slots=True)
class _Answer:
    code: int
    body: dict[str, Any]


class _Refusal(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ControlResource(Resource):
    """All requests come here; the path's first part says what is asked."""

    isLeaf = True

    def __init__(
        self, operator: Operator, gateway: RunningGateway, permissions: Callable[[], Permissions]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operator = operator
        self._gateway = gateway
        self._permissions = permissions

    def render(self, request: Request) -> int:
        """Answer in the background; a client that hangs up cancels it."""
        answering = Deferred.fromCoroutine(self._respond(request))
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        answering.addErrback(self._gone)
        return NOT_DONE_YET

    @staticmethod
    def _gone(failure: Any) -> None:
        if not failure.check(CancelledError):
            log.failure("control request failed", failure)

    async def _respond(self, request: Request) -> None:
        answer = await self._guarded(request)
        if answer is not None and request.startedWriting:
            # Too late to say what went wrong; that the answer isn't whole can be seen.
            request.loseConnection()
            return
        if answer is not None:
            request.setResponseCode(answer.code)
            request.setHeader(b"content-type", b"application/json")
            request.write(json.dumps(answer.body).encode() + b"\n")
        request.finish()

    async def _guarded(self, request: Request) -> _Answer | None:
        try:
            return await self._route(request)
        except _Refusal as refusal:
            return _Answer(refusal.code, {"error": str(refusal)})
        except UnknownVerb as error:
            return _Answer(400, {"error": str(error)})
        except Ineligible as error:
            return _Answer(409, {"error": str(error)})
        except ConfigError as error:
            return _Answer(409, {"errors": [str(problem) for problem in error.problems]})
        except (StoreError, TableError) as error:
            return _Answer(503, {"error": str(error)})
        except CancelledError:
            raise
        except Exception as error:
            log.failure("control request failed", error)
            return _Answer(500, {"error": "the log says what went wrong"})

    async def _route(self, request: Request) -> _Answer | None:
        method = request.method.decode("ascii", "replace")
        parts = [part for part in request.path.decode("ascii", "replace").split("/") if part]
        match method, parts:
            case "GET", ["status"]:
                await self._check(request, Right.LIST)
                return _Answer(200, self._gateway.status())
            case "GET", ["metrics"]:
                await self._check(request, Right.LIST)
                await self._metrics(request)
                return None
            case "GET", ["queue"]:
                await self._check(request, Right.LIST)
                await self._queue(request)
                return None
            case "GET", ["message", queue_id, *rest] if rest in ([], ["content"]):
                await self._check(request, Right.OPERATE)
                return await self._message(request, queue_id, bool(rest))
            case "POST", ["flush"]:
                await self._check(request, Right.FLUSH)
                await self._gateway.flush(_selection(request))
                return _Answer(200, {})
            case "POST", ["pickup"]:
                await self._check(request, Right.SUBMIT)
                self._gateway.pick_up()
                return _Answer(200, {})
            case "POST", [verb] if verb in _VERBS:
                await self._check(request, Right.OPERATE)
                return _Answer(200, await self._operator.change(verb, _selection(request)))
            case "POST", ["reload"]:
                await self._check(request, Right.OPERATE)
                return _Answer(200, {"warnings": list(await self._gateway.reload())})
            case "POST", ["stop"]:
                await self._check(request, Right.OPERATE)
                self._gateway.stop()
                return _Answer(200, {})
        raise _Refusal(404, f"no such request: {method} /{'/'.join(parts)}")

    async def _check(self, request: Request, right: str) -> None:
        user_id = peer_user_id(_socket_of(request))
        if not await self._permissions().allows(user_id, right):
            what = f" (see {right})" if right else ""
            raise _Refusal(403, f"user {user_id} is not allowed to do this{what}")

    async def _metrics(self, request: Request) -> None:
        totals = await self._operator.store.totals()
        request.setHeader(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
        request.write(render_metrics(totals, self._gateway.status()).encode())

    async def _queue(self, request: Request) -> None:
        selection = _asked_selection(request)
        request.setHeader(b"content-type", b"application/x-ndjson")
        with Pacing(request) as answer:
            async for page in self._operator.listing(selection):
                await answer.write(b"".join(json.dumps(entry).encode() + b"\n" for entry in page))

    async def _message(self, request: Request, queue_id: str, with_content: bool) -> _Answer | None:
        found = await self._operator.message(queue_id)
        if found is None:
            raise _Refusal(404, f"no message {queue_id} in the queue")
        envelope, content = found
        if not with_content:
            return _Answer(200, envelope)
        request.setHeader(b"content-type", b"message/rfc822")
        request.setHeader(b"content-length", str(content.size).encode())
        offset = 0
        with Pacing(request) as answer:
            while octets := await content.read(offset, _CONTENT_PIECE):
                await answer.write(octets)
                offset += len(octets)
        return None


def _socket_of(request: Request) -> Any:
    transport: Any = request.channel.transport if request.channel is not None else None
    if transport is None:
        raise _Refusal(400, "the connection is gone")
    return transport.getHandle()


def _selection(request: Request) -> Selection:
    if getattr(request, "is_too_large", False):
        raise _Refusal(413, "the request's body is too large")
    octets = request.content.read() if request.content else b""
    try:
        fields = json.loads(octets or b"{}")
    except (ValueError, RecursionError) as error:
        raise _Refusal(400, f"the request's body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise _Refusal(400, "the request's body is not a JSON object")
    return selection_from(fields)


def _asked_selection(request: Request) -> Selection:
    fields: dict[str, Any] = {}
    for name, values in (request.args or {}).items():
        texts = [value.decode("utf-8", "replace") for value in values]
        key = name.decode("utf-8", "replace")
        fields[key] = texts if key in ("ids", "states") else texts[-1]
    return selection_from(fields)


def control_site(
    operator: Operator,
    gateway: RunningGateway,
    permissions: Callable[[], Permissions],
    reactor: Any = None,
) -> IProtocolFactory:
    """The factory to listen with on the control socket. A request may take a minute to come."""
    resource = ControlResource(operator, gateway, permissions)
    site = Site(resource, BoundedRequest, timeout=60, reactor=reactor)
    site.noisy = False
    site.log = lambda request: None  # type: ignore[method-assign]
    return LimitedByUser(site, lambda user_id: user_id in permissions().own)
