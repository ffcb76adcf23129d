"""What the dispatcher reads from main.cf and master.cf, and the numbers in its log lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gatewayd.config.load import Configuration, load
from gatewayd.errors import ConfigError
from gatewayd.message import Notify, Recipient
from gatewayd.queue.delivery_log import delay_text, delivery_line
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.queue.schedule import Feedback, TransportSettings
from gatewayd.status import Outcome, failed
from tests.fakes.mail import mail, queued, recipient
from tests.fakes.transport import DELIVERED

MASTER = """
smtp unix - - n - - smtp
ondemand unix - - n - 3 smtp
local unix - n n - - discard
"""


def configured(folder: Path, main: str) -> Configuration:
    (folder / "main.cf").write_text(main)
    (folder / "master.cf").write_text(MASTER)
    return load(str(folder), hostname="mx.example.net")


def transport(configuration: Configuration, name: str) -> TransportSettings:
    [service] = [each for each in configuration.services if each.name == name]
    return TransportSettings.from_settings(configuration.settings, service)


def test_defaults(tmp_path: Path) -> None:
    """An empty main.cf gives the defaults that the dataclasses have."""
    configuration = configured(tmp_path, "")
    found = DispatchSettings.from_settings(configuration.settings)
    assert found == DispatchSettings(double_bounce=("double-bounce", "mx.example.net"))
    assert transport(configuration, "smtp") == TransportSettings("smtp", "smtp")


def test_own_values(tmp_path: Path) -> None:
    """A transport's own parameters win; a clone is logged under its name and its plugin's."""
    configuration = configured(
        tmp_path,
        "ondemand_destination_concurrency_limit = 2\n"
        "ondemand_initial_destination_concurrency = 1\n"
        "default_destination_concurrency_negative_feedback = 1/concurrency\n"
        "minimal_backoff_time = 10m\nmaximal_backoff_time = 5m\n"
        "maximal_queue_lifetime = 2d\nbounce_queue_lifetime = 3d\n"
        "defer_transports = ondemand, fax\ndelay_warning_time = 4\n",
    )
    ondemand = transport(configuration, "ondemand")
    assert (ondemand.concurrency_limit, ondemand.initial_concurrency) == (2, 1)
    assert ondemand.negative == Feedback(1.0, 1.0)
    assert (ondemand.maxproc, ondemand.program) == (3, "ondemand/smtp")
    assert transport(configuration, "smtp").concurrency_limit == 20
    found = DispatchSettings.from_settings(configuration.settings)
    assert found.defer_transports == {"ondemand", "fax"}
    backoff = found.backoff
    assert (backoff.minimal, backoff.maximal) == (600, 600)
    assert (backoff.lifetime, backoff.bounce_lifetime) == (2 * 86400, 2 * 86400)
    assert backoff.warning == 4 * 3600


def test_reports_are_made_from_whole_headers(tmp_path: Path) -> None:
    """However little of a message's body may come back with them."""
    small = configured(tmp_path, "bounce_size_limit = 10\nheader_size_limit = 5000\n")
    assert DispatchSettings.from_settings(small.settings).original_limit == 5000


def test_local_delivers_by_recipient(tmp_path: Path) -> None:
    """local's own defaults: one recipient, two at once."""
    local = transport(configured(tmp_path, ""), "local")
    assert (local.recipient_limit, local.concurrency_limit) == (1, 2)
    assert local.slow_line_limit == 0


def test_rate_delay_is_serial(tmp_path: Path) -> None:
    """A destination rate delay means one delivery at a time."""
    smtp = transport(configured(tmp_path, "smtp_destination_rate_delay = 5s\n"), "smtp")
    assert (smtp.rate_delay, smtp.concurrency_limit) == (5.0, 1)


@pytest.mark.parametrize(
    ("main", "limit"),
    [
        ("", 45),
        ("smtp_destination_slow_line_concurrency_limit = 30\n", 30),
        ("default_destination_slow_line_concurrency_limit = 0\n", 0),
        ("default_destination_concurrency_limit = 20\n", 0),
        ("smtp_destination_concurrency_limit = 20\n", 0),
        ("ondemand_destination_concurrency_limit = 2\n", 45),
        ("smtp_destination_concurrency_positive_feedback = 1/concurrency\n", 0),
        ("default_destination_rate_delay = 1s\n", 0),
        ("initial_destination_concurrency = 2\n", 45),
    ],
)
def test_slow_lines(tmp_path: Path, main: str, limit: int) -> None:
    """A limit that somebody has set is never exceeded, slow line or not."""
    assert transport(configured(tmp_path, main), "smtp").slow_line_limit == limit


def test_bad_feedback(tmp_path: Path) -> None:
    """A feedback that isn't one is refused, naming the setting."""
    name = "smtp_destination_concurrency_positive_feedback"
    with pytest.raises(ConfigError, match=name):
        transport(configured(tmp_path, f"{name} = lots\n"), "smtp")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0"),
        (0, "0"),
        (0.004, "0"),
        (0.006, "0.01"),
        (0.1, "0.1"),
        (0.994, "0.99"),
        (0.995, "1"),
        (1.25, "1.3"),
        (9.94, "9.9"),
        (9.95, "10"),
        (431999.6, "432000"),
    ],
)
def test_delay_text(seconds: float, text: str) -> None:
    """Delays have two significant digits, none behind the second decimal place."""
    assert delay_text(seconds) == text


def test_delivery_line() -> None:
    """Every part of a delivery line, the optional ones too."""
    message = queued(mail("A1", recipient("user@example.com"), arrival=100.0))
    [one] = message.recipients
    refused = failed("5.1.1", "host mx said: 550 no", relay="mx[192.0.2.1]:25")
    line = delivery_line(message, one, refused, 100.03, 100.2, 112.0)
    assert line == (
        "A1: to=<user@example.com>, relay=mx[192.0.2.1]:25, delay=12, delays=0.03/0.17/0/0, "
        "dsn=5.1.1, status=bounced (host mx said: 550 no)"
    )
    aliased = queued(mail("A1", _aliased(), arrival=100.0))
    used = Outcome(DELIVERED.action, "2.0.0", "ok", "mx", connect=1.5, transmit=0.2, conn_use=3)
    line = delivery_line(aliased, aliased.recipients[0], used, 100.0, 100.0, 102.0)
    assert line == (
        'A1: to=<"odd name"@example.com>, orig_to=<alias@example.com>, relay=mx, conn_use=3, '
        "delay=2, delays=0/0/1.5/0.2, dsn=2.0.0, status=sent (ok)"
    )


def _aliased() -> Recipient:

    odd = recipient('"odd name"@example.com', "smtp:x", Notify.DEFAULT)
    return replace(odd, original="alias@example.com")
