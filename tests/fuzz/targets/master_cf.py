"""master.cf: services, options in braces; what postconf shows means what was read."""

from __future__ import annotations

from gatewayd.config import edit
from gatewayd.config.master_cf import Service, parse, split_line, ungrouped
from gatewayd.config.master_entry import EntryError, MasterEntry
from tests.fuzz.inputs import split, text

SEEDS = (
    b"smtp inet n - y - - smtpd\n  -o smtpd_timeout=20\n  -o { a = b  c }\n",
    b"ondemand unix - - n 1000? 2 smtp -v -o{x=y}\n# c\npipe unix - n n - 1 pipe\n"
    b"  flags=DR user=nobody argv=/bin/x ${sender} {a b} {}\n",
    b"[::1]:25 inet n - n - 0 smtpd -o a=1 -o a=2\nx fifo - - - 0 - qmgr\n",
)
WORDS = (
    *(b"smtp", b" inet", b" unix", b" n", b" y", b" -", b" smtpd", b" -o ", b"-o", b" {", b"} "),
    *(b"{ a = b }", b"{}", b"a=b", b"=", b"\n", b"\n  ", b" 1000?", b" pipe", b" argv=", b"-v"),
    *(b"x unix - - n - - smtp", b"1.2.3.4:25 inet n - n - - smtpd", b"#", b" {{x}", b"--"),
)
FOUND = (
    b"d unix - - n 0 2 x - -ox=\xfb@\xd6\xba\xb2\xc8\xe0\x12",
    b"e unix - n n - 1 p \xe2\x80\xa8\x13\x8a\xed\xb0KM!M",
    b"d unix - - n 0 2 v {}}pVW\x92\xd1\xa1\x1f\x0f",
    b"x\n fifo - - - 0 - m\x18D\xdc\x91\x92\x1e\x16\x13",
    b"d unix - - n 0 2 s -ox= #U\xbf\xbe\xac\x80\x90\xdd\xae",
    b"d unix - - n 0 2 v #}\x16!U\xb9\x0b\x1d\x8c\xa8",
    b"x unix - - n - - p {-o}\xad=G\xe9|,M,",
)


def target(data: bytes) -> bool:
    """Nothing is raised; a service's line, taken apart and written again, is the same service."""
    payload, _ = split(data)
    source = text(payload)
    found = parse(source, "master.cf")
    for problem in (*found.errors, *found.warnings):
        assert 1 <= problem.line <= source.count("\n") + 1
    for service in found.services:
        words = split_line(service.text)
        assert words[:2] == [service.name, service.type]
        for word in words:
            ungrouped(word)
        _check_entry(service)
    keys = [f"{each.name}/{each.type}" for each in found.services]
    if keys and "{" not in "".join(keys):
        left = edit.remove(source, keys[:1], edit.service_key, edit.Removal.DROP)
        names = [f"{each.name}/{each.type}" for each in parse(left, "f").services]
        assert names == keys[1:]
    return bool(found.services)


def _check_entry(service: Service) -> None:
    try:
        entry = MasterEntry.parse(service.text)
    except EntryError:
        return
    for folded in (False, True):
        shown = entry.lines(folded)
        (again,) = parse(shown, "f").services
        assert _meaning(again) == _meaning(service)
    assert (
        MasterEntry.parse(entry.with_override("new", "v w").lines(False)).overrides["new"] == "v w"
    )


def _meaning(service: Service) -> tuple[object, ...]:
    overrides = [(name, value) for name, value, _ in service.overrides]
    return (service.name, service.type, service.command, service.arguments, overrides)
