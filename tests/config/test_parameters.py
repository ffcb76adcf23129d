"""The table: complete, true, and documented."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from gatewayd.config.document import document
from gatewayd.config.load import make_settings
from gatewayd.config.parameters import AREAS, PARAMETERS, TRANSPORT_SUFFIXES, Parameter
from gatewayd.config.settings import check_value
from gatewayd.config.values import Kind
from tests.peers import require

_ROOT = Path(__file__).parents[2]

_FOR_REFERENCE = {"compatibility_level", "mail_version", "multi_instance_name"}
"""Nothing reads these but ``$`` in other values."""

_LITERAL_MEANT_OTHERWISE = {"forward_path", "smtpd_restriction_classes"}
"""Words that are parameters of Postfix, said for another reason than to act on them."""


def test_the_page_is_that_of_the_table() -> None:
    """If not: make docs."""
    assert (_ROOT / "docs" / "parameters.md").read_text() == document()


@pytest.mark.parametrize("row", PARAMETERS.values(), ids=lambda row: row.name)
def test_a_default_is_of_its_own_kind(row: Parameter) -> None:
    settings = make_settings("/etc/gatewayd", {}, "gw.example.net")
    check_value(settings, row)


def test_what_is_acted_on_has_a_meaning() -> None:
    for area, rows in AREAS:
        assert area
        for row in rows:
            assert row.meaning.endswith("."), row.name
            assert len(row.meaning) > 10, row.name


def test_fallbacks_of_transports_exist() -> None:
    assert set(TRANSPORT_SUFFIXES.values()) <= set(PARAMETERS)


def test_every_parameter_of_postfix_is_known() -> None:
    postconf = require("postconf", "postfix")
    shown = subprocess.run([postconf, "-d"], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^(\S+) =", shown, re.M))
    by_transport = {
        name for name in names if any(name.endswith(f"_{each}") for each in TRANSPORT_SUFFIXES)
    }
    assert names - by_transport - set(PARAMETERS) == set()


@cache
def _read_by_code() -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """String literals of the program, and its f-strings as patterns."""
    literals: set[str] = set()
    patterns: set[str] = set()
    for folder in ("gatewayd", "plugins"):
        for path in (_ROOT / folder).rglob("*.py"):
            if path.is_relative_to(_ROOT / "gatewayd" / "config" / "parameters"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    literals.add(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = [
                        re.escape(part.value) if isinstance(part, ast.Constant) else "[a-z0-9_]+"
                        for part in node.values
                        if not isinstance(part, ast.Constant) or isinstance(part.value, str)
                    ]
                    if len(re.sub(r"[^a-z]", "", "".join(parts).replace("[a-z0-9_]+", ""))) > 4:
                        patterns.add("".join(parts))
    names = {word for text in literals for word in re.findall(r"\$\{?([a-z0-9_]+)", text)}
    return frozenset(literals | names), tuple(map(re.compile, patterns))


def _is_read(name: str) -> bool:
    literals, patterns = _read_by_code()
    suffixes = {fallback: suffix for suffix, fallback in TRANSPORT_SUFFIXES.items()}
    bare = re.sub("^(smtp|lmtp|local)_", "", name)
    forms = {name, bare, suffixes.get(name, name)}
    return bool(
        forms & literals or any(each.fullmatch(form) for each in patterns for form in forms)
    )


def test_what_is_said_to_be_acted_on_is_read_somewhere() -> None:
    """If not: wrap the row in planned(…)."""
    unread = [row.name for row in PARAMETERS.values() if row.supported and not _is_read(row.name)]
    assert set(unread) <= _FOR_REFERENCE | _referred_by_supported()


def _referred_by_supported() -> set[str]:
    """A row may give a default to another."""
    defaults = [row.default or "" for row in PARAMETERS.values() if row.supported]
    return {name for text in defaults for name in re.findall(r"\$\{?([a-z0-9_]+)", text)}


def test_what_is_read_somewhere_is_not_said_to_be_ignored() -> None:
    """If it is: give it a row of its own, or take it out of planned(…)."""
    literals, _ = _read_by_code()
    ignored = {row.name for row in PARAMETERS.values() if not row.supported}
    assert ignored & literals <= _LITERAL_MEANT_OTHERWISE


def test_kinds_that_need_more_have_it() -> None:
    for row in PARAMETERS.values():
        assert (row.kind is Kind.CHOICE) == bool(row.choices), row.name
        assert row.unit in "smhdw", row.name
