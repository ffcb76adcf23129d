"""main.cf, read and edited: what is set is what is read, and the rest stays as it was."""

from __future__ import annotations

from gatewayd.config import edit
from gatewayd.config.main_cf import parse, split_assignment
from tests.fuzz.inputs import split, text

SEEDS = (
    b"myhostname = mx.example.com\n# comment\nmynetworks = 127.0.0.0/8,\n  [::1]/128\n",
    b"a=1\na = 2\n = 3\nno equals\n  orphan = 4\nb =\n",
    b"relayhost = [mail.example]:587\n\nsmtpd_banner = $myhostname ESMTP\n",
)
WORDS = (b"a", b"b", b" = ", b"=", b"\n", b"\n ", b"#", b"a = 1\n", b"b=2\n", b" c\n", b"value")
FOUND = (b"\xc2\x85a=\x16L\x9fY\x03nZ\xd9",)


def target(data: bytes) -> bool:
    """Nothing is raised; edits do what they say and no more."""
    payload, decisions = split(data)
    source = text(payload)
    found = parse(source, "main.cf")
    lines = source.count("\n") + 1
    for problem in (*found.errors, *found.warnings):
        assert 1 <= problem.line <= lines
    for name, assignment in found.assignments.items():
        assert name == assignment.name
        assert 1 <= assignment.line <= lines
        assert split_assignment(f"{name} = {assignment.value}") == (name, assignment.value)
    name = decisions.choice([*found.assignments, "a", "new"])
    if name.startswith("#"):
        return False
    changed = edit.set_entries(source, {name: f"{name} = x y"}, edit.main_name)
    assert _values(changed) == {**_values(source), name: "x y"}
    for how in edit.Removal:
        removed = edit.remove(source, [name], edit.main_name, how)
        assert _values(removed) == {k: v for k, v in _values(source).items() if k != name}
    return bool(found.assignments)


def _values(source: str) -> dict[str, str]:
    return {name: each.value for name, each in parse(source, "f").assignments.items()}
