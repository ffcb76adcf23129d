"""A whole configuration: what the check passes, everybody can read."""

from __future__ import annotations

from gatewayd.config import main_cf, master_cf
from gatewayd.config.check import Check
from gatewayd.config.load import make_settings
from gatewayd.config.parameters import PARAMETERS, Support
from gatewayd.config.settings import Settings
from gatewayd.config.values import Kind
from gatewayd.errors import ConfigError
from tests.fuzz.inputs import split, text

_FILE = b"\n%%\n"
_SERVICES = b"25 inet n - n - - smtpd\nsmtp unix - - n - - smtp\nod unix - - n - 1 smtp\n"
SEEDS = (
    b"relayhost = [a]:25\nsmtpd_timeout = 30s\nmynetworks = 10.0.0.0/8" + _FILE + _SERVICES,
    b"myhostname = ${mydomain}\nmydomain = $myhostname\nx = ${y?{$z}:{$x}}" + _FILE + _SERVICES,
    b"od_destination_rate_delay = 1m\nod_nosuch = 1\nmynetworks_style = host"
    + _FILE
    + _SERVICES
    + b"y inet n - n - - smtpd -o { soft_bounce = maybe } -o smtpd_timeout=$hopcount_limit\n",
)
WORDS = (
    *(b"soft_bounce", b"smtpd_timeout", b"mynetworks", b"mydomain", b"myhostname", b"relayhost"),
    *(b" = ", b"yes", b"no", b"1", b"5m", b"$", b"${", b"}", b"?", b"{", b"\n", b"\n ", _FILE),
    *(b"mynetworks_style", b"subnet", b"class", b"smtpd_recipient_limit", b"od_", b" -o "),
    *(b"destination_concurrency_limit", b"default_process_limit", b"inet_interfaces", b"all"),
    *(b"smtpd_restriction_classes", b"$mydomain", b"${{$a} == {b}?{c}:{d}}", b"message_size_limit"),
)


def target(data: bytes) -> bool:
    """All problems are ConfigProblems with a place; without errors every value can be had."""
    payload, _ = split(data)
    main_text, _, master_text = payload.partition(_FILE)
    main = main_cf.parse(text(main_text), "main.cf")
    master = master_cf.parse(text(master_text), "master.cf")
    settings = make_settings("/etc/gatewayd", main.assignments, "gw.example.com")
    settings.transports = frozenset(each.name for each in master.services if each.is_transport)
    check = Check(settings, master.services)
    for problem in (*check.errors, *check.warnings):
        assert problem.text
        assert problem.file in ("main.cf", "master.cf")
    if check.errors:
        return False
    for own in (settings, *map(settings.for_service, master.services)):
        for name in own.assigned:
            _read(own, name)
    return bool(main.assignments)


def _read(settings: Settings, name: str) -> None:
    row = PARAMETERS.get(name)
    if row is not None and row.support is Support.PLANNED:
        return
    kind = row.kind if row else Kind.TEXT
    readers = {Kind.FLAG: settings.flag, Kind.NUMBER: settings.number}
    readers |= {Kind.SECONDS: settings.seconds, Kind.WORDS: settings.words}
    try:
        readers.get(kind, settings.text)(name)
    except ConfigError as error:
        raise AssertionError(f"not found by the check: {error}") from error
