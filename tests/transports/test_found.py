"""Finding transports: the core's, our plugins, another distribution's; broken and unknown ones."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from gatewayd.config.load import make_settings
from gatewayd.config.master_cf import Service, parse
from gatewayd.errors import ConfigError
from gatewayd.interfaces import ITransportMaker
from gatewayd.transport import TransportContext
from gatewayd.transports.found import find_transports, make_transports, transport_services
from tests.reactor_run import reactor

_CORE = {"discard", "error", "lmtp", "pipe", "smtp"}
_DECLARATION = """\
from gatewayd.transport import TransportMaker

pigeon = TransportMaker("pigeon", "gatewayd.plugins.pigeon.transport", "By carrier pigeon")
"""
_IMPLEMENTATION = """\
from gatewayd.errors import ConfigError, ConfigProblem


def make(context):
    service = context.service
    if not service.arguments:
        raise ConfigError([ConfigProblem(service.file, service.line, "pigeon: no loft=")])
    return ("a pigeon", service.name, service.arguments)
"""


def _services(*lines: str) -> tuple[Service, ...]:
    found = parse("\n".join(lines), "master.cf")
    assert not found.errors
    return found.services


def _context(service: Service) -> TransportContext:
    return TransportContext(service, make_settings("/nowhere", {}, "gw.example"), reactor, None)


def test_core_and_plugins_are_found() -> None:
    found = find_transports()
    assert set(found.makers) >= _CORE
    assert found.broken == {}
    for name, maker in found.makers.items():
        assert ITransportMaker.providedBy(maker)
        assert maker.name == name
        assert maker.description


def test_only_unix_services_that_carry_mail_are_transports() -> None:
    services = _services(
        *("smtp inet n - n - - smtpd", "od unix - - n - - smtp", "cleanup unix - - n - 0 cleanup"),
        *("x fifo - - n - - smtp", "local unix - n n - - local", "mine unix - - n - - nosuch"),
    )
    assert [each.name for each in transport_services(services)] == ["od", "mine"]


def test_transports_are_made_by_their_services_names() -> None:
    services = _services(*("retry unix - - n - - error", "od unix - - n - 1 smtp -o a=b"))
    assert set(make_transports(services, _context)) == {"retry", "od"}


def test_a_name_that_nothing_provides_is_an_error_with_what_there_is() -> None:
    services = _services(
        "a unix - - n - - error", "# ", "b unix - - n - - smpt", "c unix - - n - - x"
    )
    with pytest.raises(ConfigError) as error:
        make_transports(services, _context)
    first, second = error.value.problems
    assert (first.file, first.line, second.line) == ("master.cf", 3, 4)
    assert first.text.startswith(
        'service b: no transport named "smpt"; found: discard, error, lmtp'
    )


def test_bad_arguments_are_named_together_with_missing_transports() -> None:
    services = _services("p unix - n n - - pipe user=nobody", "q unix - - n - - nosuch")
    with pytest.raises(ConfigError) as error:
        make_transports(services, _context)
    assert [problem.line for problem in error.value.problems] == [1, 2]
    assert "argv" in error.value.problems[0].text


def _plugin(site: Path, name: str, declaration: str, implementation: str = "") -> None:
    folder = site / "gatewayd" / "plugins" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(declaration)
    (folder / "transport.py").write_text(implementation)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages in which another distribution has put a plugin."""
    site = tmp_path / "site"
    _plugin(site, "pigeon", _DECLARATION, _IMPLEMENTATION)
    return site


def _break(site: Path) -> None:
    """Add a plugin that can't even be declared, and one that can't be used."""
    _plugin(site, "broken", "import nosuch_module\n")
    declaration = _DECLARATION.replace("pigeon", "helpless")
    _plugin(site, "helpless", declaration, "import nosuch_library\n")


def _run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in a process that has the distribution, as this one was started without."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
    )


def _check(site: Path, tmp_path: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """``gatewayd check`` of a configuration with these commands as services, from line 4 on."""
    folder = tmp_path / "etc"
    folder.mkdir()
    owner = pwd.getpwuid(os.getuid()).pw_name
    (folder / "main.cf").write_text(f"mail_owner = {owner}\nmydestination =\n")
    lines = [f"{name} unix - - n - - {name}\n" for name in ("smtp", "error")]
    lines.append("relay unix - - n - - smtp\n")
    lines += [f"own{n} unix - - n - 1 {command}\n" for n, command in enumerate(commands)]
    (folder / "master.cf").write_text("".join(lines))
    return _run(site, "-m", "gatewayd.cli.daemon", "-c", str(folder), "check")


def test_another_distributions_plugin_is_found_and_a_broken_one_is_named(site: Path) -> None:
    _break(site)
    code = (
        "from gatewayd.transports.found import find_transports\n"
        "found = find_transports()\n"
        "print(sorted(found.makers), found.broken, found.makers['pigeon'].description)\n"
    )
    done = _run(site, "-c", code)
    assert done.stdout == (
        f"{sorted({*_CORE, 'pigeon', 'helpless'})} "
        "{'broken': \"ModuleNotFoundError: No module named 'nosuch_module'\"} By carrier pigeon\n"
    ), done.stderr


def test_the_gateway_uses_it(site: Path, tmp_path: Path) -> None:
    done = _check(site, tmp_path, "pigeon loft=roof")
    assert (done.returncode, done.stderr) == (0, "")


def test_all_that_stops_the_start_is_named(site: Path, tmp_path: Path) -> None:
    _break(site)
    done = _check(site, tmp_path, "pigeon", "broken", "helpless x=y", "nosuch")
    assert done.returncode == 78
    told = [line for line in done.stderr.splitlines() if line.startswith("gatewayd: fatal: ")]
    assert [line.partition("master.cf")[2].partition(" ")[0] for line in told] == [
        *(":4:", ":5:", ":6:", ":7:"),
    ]
    assert told[0].endswith("pigeon: no loft=")
    assert told[1].endswith(
        "(plugin broken is broken: ModuleNotFoundError: No module named 'nosuch_module')"
    )
    assert told[2].endswith("helpless cannot be used: No module named 'nosuch_library'")
    assert told[3].endswith("found: discard, error, helpless, lmtp, pigeon, pipe, smtp")
