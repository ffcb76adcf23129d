"""Mail that can be told apart, sent until somebody says stop; and what became of it."""

from __future__ import annotations

import random
import re
import smtplib
import threading
from collections import Counter

from tests.mail_sink import MailSink
from tests.peers import eventually

LARGE = 400_000
"""Octets of a message that the queue keeps in a file of its own; of 20 KB upwards, in a segment."""
REFUSED = -1
"""In place of a reply's code: no connection, or none for long enough."""

_REFUSALS = {
    (421, b"4.7.0 gateway.test Error: too many connections"),
    (452, b"4.3.1 Insufficient system storage"),
    (451, b"4.3.0 Error: queue file write error"),
}


def send(port: int, mark: str, size: int = 100) -> int:
    """The reply's code: to DATA or to its end; 0 if it's none that a full machine may give."""
    text = f"Subject: {mark}\r\n\r\n" + ("y" * 78 + "\r\n") * (size // 80)
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            client.sendmail("s@example.org", ["r@example.com"], text)
    except smtplib.SMTPResponseException as error:
        is_right = (error.smtp_code, error.smtp_error) in _REFUSALS
        return error.smtp_code if is_right else 0
    except (OSError, smtplib.SMTPException):
        return REFUSED
    return 250


def marks(sink: MailSink) -> Counter[str]:
    """How often each has arrived."""
    found = (re.search(rb"Subject: (\S+)\r\n", each) for each in list(sink.messages))
    return Counter(match[1].decode() for match in found if match)


def arrive(sink: MailSink, wanted: set[str]) -> None:
    """Wait until all these have arrived."""
    eventually(lambda: wanted <= set(marks(sink)), f"{len(wanted)} messages arrive", 60)


class Load:
    """Clients that send mail of all sizes until they are told to stop; ``codes`` counts replies."""

    def __init__(self, port: int) -> None:
        self.acknowledged: set[str] = set()
        self.codes: Counter[int] = Counter()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(port, number)) for number in range(6)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int, number: int) -> None:
        chance = random.Random(number)
        count = 0
        while not self._ended.is_set():
            count += 1
            mark = f"load-{number}-{count}"
            code = send(port, mark, chance.choice((100, 20_000, 100_000, LARGE)))
            self.codes[code] += 1
            if code == 250:
                self.acknowledged.add(mark)
            else:
                self._ended.wait(0.02)

    def stop(self) -> None:
        """And wait for the last replies."""
        self._ended.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
