"""The parameters of the SMTP and LMTP client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["ClientSettings", "Timeouts"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of silence that are borne at each stage (postfix.md §7)."""

    connect: float = 30.0
    greeting: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data_init: float = 120.0
    data_xfer: float = 180.0
    data_done: float = 600.0
    quit: float = 300.0


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to speak to servers. ``idle`` and ``reuse`` are seconds, ``reuse_count`` 0 is no limit.

    ``in_flight``: messages, and ``in_flight_octets``: octets, that may be on their way on a
    connection without an answer yet.
    """

    lmtp: bool = False
    helo_name: str = "localhost"
    myhostname: str = "localhost"
    timeouts: Timeouts = Timeouts()
    session_limit: int = 2
    skip_5xx_greeting: bool = True
    always_send_ehlo: bool = True
    never_send_ehlo: bool = False
    discard_keywords: frozenset[str] = frozenset()
    line_length_limit: int = 998
    convert_8bit: bool = True
    soft_bounce: bool = False
    idle: float = 2.0
    reuse: float = 300.0
    reuse_count: int = 0
    bind_address: str = ""
    bind_address6: str = ""
    in_flight: int = 100
    in_flight_octets: int = 1 << 20

    @classmethod
    def from_settings(cls, settings: Settings, *, lmtp: bool = False) -> ClientSettings:
        """As main.cf and the service say. Raises ConfigError."""
        prefix = "lmtp" if lmtp else "smtp"

        def seconds(name: str) -> float:
            return settings.seconds(f"{prefix}_{name}")

        timeouts = Timeouts(
            connect=seconds("connect_timeout"),
            greeting=settings.seconds("lmtp_lhlo_timeout" if lmtp else "smtp_helo_timeout"),
            mail=seconds("mail_timeout"),
            rcpt=seconds("rcpt_timeout"),
            data_init=seconds("data_init_timeout"),
            data_xfer=seconds("data_xfer_timeout"),
            data_done=seconds("data_done_timeout"),
            quit=seconds("quit_timeout"),
        )
        keywords = settings.words(f"{prefix}_discard_ehlo_keywords")
        on_demand = settings.flag(f"{prefix}_connection_cache_on_demand")
        return cls(
            lmtp=lmtp,
            helo_name=settings.text("lmtp_lhlo_name" if lmtp else "smtp_helo_name"),
            myhostname=settings.text("myhostname"),
            timeouts=timeouts,
            session_limit=settings.number(f"{prefix}_mx_session_limit"),
            skip_5xx_greeting=settings.flag(f"{prefix}_skip_5xx_greeting"),
            always_send_ehlo=settings.flag("smtp_always_send_ehlo"),
            never_send_ehlo=settings.flag("smtp_never_send_ehlo"),
            discard_keywords=frozenset(word.upper() for word in keywords),
            line_length_limit=settings.number(f"{prefix}_line_length_limit"),
            convert_8bit=not settings.flag("disable_mime_output_conversion"),
            soft_bounce=settings.flag("soft_bounce"),
            idle=seconds("connection_cache_time_limit") if on_demand else 0.0,
            reuse=seconds("connection_reuse_time_limit") if on_demand else 0.0,
            reuse_count=settings.number(f"{prefix}_connection_reuse_count_limit"),
            bind_address=settings.text(f"{prefix}_bind_address"),
            bind_address6=settings.text(f"{prefix}_bind_address6"),
        )
