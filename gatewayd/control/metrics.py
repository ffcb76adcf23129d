"""Prometheus metrics, in its text format (prometheus.io/docs/instrumenting/exposition_formats).

Names begin with ``gatewayd_``, units are base units, counters end in ``_total``. No address and
no domain becomes a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gatewayd import __version__
from gatewayd.queue.records import Totals

__all__ = ["render_metrics"]

_COUNTERS = {
    "deliveries": ("gatewayd_delivery_attempts_total", "Recipients tried, by result"),
    "connections": ("gatewayd_smtpd_connections_total", "SMTP connections accepted"),
    "received": ("gatewayd_messages_received_total", "Messages taken into the queue"),
}


def render_metrics(totals: Totals, status: Mapping[str, Any]) -> str:
    """The page, from the queue's totals and the gateway's status."""
    lines: list[str] = []
    _metric(
        lines,
        "gatewayd_build_info",
        "gauge",
        "The version that runs",
        [({"version": __version__}, 1)],
    )
    _metric(
        lines,
        "gatewayd_queue_messages",
        "gauge",
        "Messages in the queue",
        [({"queue": state.value}, count) for state, count in totals.messages.items()],
    )
    _metric(
        lines,
        "gatewayd_queue_bytes",
        "gauge",
        "Octets in the queue",
        [({"queue": state.value}, octets) for state, octets in totals.octets.items()],
    )
    _metric(
        lines,
        "gatewayd_queue_oldest_timestamp_seconds",
        "gauge",
        "Arrival of the oldest message, 0 if none",
        [({}, totals.oldest or 0)],
    )
    for key, (name, meaning) in _COUNTERS.items():
        _metric(lines, name, "counter", meaning, _samples(status.get("counters", {}).get(key)))
    for key, value in sorted(status.get("gauges", {}).items()):
        _metric(lines, f"gatewayd_{key}", "gauge", key.replace("_", " "), [({}, value)])
    return "\n".join(lines) + "\n"


def _samples(value: Any) -> list[tuple[dict[str, str], float]]:
    """A counter is a number, or numbers by label value as {"label=value,…": number}."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(dict(_pairs(labels)), number) for labels, number in sorted(value.items())]
    return [({}, float(value))]


def _pairs(labels: str) -> Iterable[tuple[str, str]]:
    for pair in labels.split(","):
        name, _, value = pair.partition("=")
        yield name, value


def _metric(
    lines: list[str],
    name: str,
    kind: str,
    meaning: str,
    samples: Iterable[tuple[Mapping[str, str], float]],
) -> None:
    present = list(samples)
    if not present:
        return
    lines.append(f"# HELP {name} {meaning}.")
    lines.append(f"# TYPE {name} {kind}")
    for labels, value in present:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value:.15g}" if inside else f"{name} {value:.15g}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
