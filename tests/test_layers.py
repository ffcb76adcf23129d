"""Imports point downward only (docs/internals.md, "Layers"): this walks them all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]

_PLUGINS = tuple(
    f"gatewayd.plugins.{each.parent.name}" for each in _ROOT.glob("plugins/*/__init__.py")
)

# From the bottom up; a module belongs to the longest prefix that names it.
_LAYERS: list[tuple[str, tuple[str, ...]]] = [
    (
        "nouns",
        (
            "gatewayd",
            "gatewayd.address",
            "gatewayd.dates",
            "gatewayd.errors",
            "gatewayd.interfaces",
            "gatewayd.message",
            "gatewayd.queue.records",
            "gatewayd.smtp.ports",
            "gatewayd.status",
            "gatewayd.transport",
        ),
    ),
    (
        "decisions",
        (
            "gatewayd.config",
            "gatewayd.notify",
            "gatewayd.plugins.pipe.attributes",
            "gatewayd.plugins.pipe.exits",
            "gatewayd.plugins.pipe.macros",
            "gatewayd.queue.backoff",
            "gatewayd.queue.schedule",
            "gatewayd.receive.headers",
            "gatewayd.routing",
            "gatewayd.smtp",
            "gatewayd.tables.address_keys",
        ),
    ),
    (
        "edges",
        (
            "gatewayd.access",
            "gatewayd.config.load",
            "gatewayd.config.machine",
            "gatewayd.config.main_settings",
            "gatewayd.control",
            "gatewayd.listeners",
            "gatewayd.maillog",
            "gatewayd.plugins",
            "gatewayd.process",
            "gatewayd.queue",
            "gatewayd.receive",
            "gatewayd.routing.dns",
            "gatewayd.routing.hosts",
            "gatewayd.routing.router",
            "gatewayd.smtp.client",
            "gatewayd.smtp.server",
            "gatewayd.tables",
            "gatewayd.transports",
        ),
    ),
    ("plugins", _PLUGINS),
    ("assembly", ("gatewayd.cli", "gatewayd.parts", "gatewayd.service", "gatewayd.tap")),
]
_LEVEL = {prefix: level for level, (_, prefixes) in enumerate(_LAYERS) for prefix in prefixes}
_FORBIDDEN_TO_DECISIONS = ("twisted.internet", "socket", "asyncio", "threading", "random", "time")


def _modules() -> dict[str, Path]:
    found = {}
    for folder, package in (("gatewayd", "gatewayd"), ("plugins", "gatewayd.plugins")):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            if "plugins" in path.relative_to(_ROOT / folder).parts:
                continue
            parts = path.relative_to(_ROOT / folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            found[name] = path
    return found


def _level(module: str) -> int:
    prefix = module
    while prefix not in _LEVEL:
        prefix = prefix.rpartition(".")[0]
    return _LEVEL[prefix]


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _imports(path: Path) -> set[str]:
    """What a module imports when it runs; imports for annotations only don't count."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        if not _is_type_checking(node):
            waiting.extend(ast.iter_child_nodes(node))
        elif isinstance(node, ast.If):
            waiting.extend(node.orelse)
    return names


_MODULES = _modules()


@pytest.mark.parametrize("module", _MODULES)
def test_imports_point_downward(module: str) -> None:
    """No module imports from a layer above its own."""
    level = _level(module)
    upward = {
        name for name in _imports(_MODULES[module]) if name in _MODULES and _level(name) > level
    }
    assert not upward, f"{module} ({_LAYERS[level][0]}) imports upward: {sorted(upward)}"


@pytest.mark.parametrize("module", [name for name in _MODULES if _level(name) == 1])
def test_decisions_touch_no_outside(module: str) -> None:
    """A decision sees no socket, reactor, clock or randomness: they are given to it."""
    touched = {
        name
        for name in _imports(_MODULES[module])
        if name.split(".")[0] in _FORBIDDEN_TO_DECISIONS or name.startswith("twisted.internet")
    }
    assert not touched, f"{module} imports {sorted(touched)}"


def test_the_walk_would_notice(tmp_path: Path) -> None:
    """The walk sees every form of import, so a rule broken is a rule noticed."""
    source = tmp_path / "m.py"
    source.write_text("def f():\n    from gatewayd import tap\nimport socket\n")
    assert {"gatewayd.tap", "socket"} <= _imports(source)
