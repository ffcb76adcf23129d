"""The metrics page is well-formed, and hostile label values stay inside their quotes."""

from __future__ import annotations

import re

from gatewayd.control.metrics import render_metrics
from gatewayd.queue.records import State, Totals

_SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? \S+')


def test_every_line_is_a_comment_or_a_sample() -> None:
    totals = Totals({State.ACTIVE: 2, State.HOLD: 1}, {State.ACTIVE: 10, State.HOLD: 5}, 12.5)
    status = {
        "counters": {"connections": 4, "deliveries": {'transport=a"b\\c\nd,result=sent': 3}},
        "gauges": {"active_lanes": 7},
    }
    page = render_metrics(totals, status)
    assert page.endswith("\n")
    for line in page[:-1].split("\n"):
        assert line.startswith("# ") or _SAMPLE.fullmatch(line), line
    assert 'gatewayd_queue_messages{queue="active"} 2' in page
    assert "gatewayd_queue_oldest_timestamp_seconds 12.5" in page
    assert "gatewayd_smtpd_connections_total 4" in page


def test_empty_queue_has_no_oldest() -> None:
    page = render_metrics(Totals({}, {}, None), {})
    assert "gatewayd_queue_oldest_timestamp_seconds 0" in page
