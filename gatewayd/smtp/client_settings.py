"""The parameters of the SMTP and LMTP client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.smtp.trouble import Stage

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["ClientSettings", "Timeouts"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that an answer may take at each stage; 0: for ever (postfix.md §7)."""

    connect: float = 30.0
    greeting: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data_init: float = 120.0
    data_xfer: float = 180.0
    data_done: float = 600.0
    rset: float = 20.0
    quit: float = 300.0

    def at(self, stage: Stage) -> float:
        """The limit while ``stage`` is waited for."""
        name = _LIMITS.get(stage)
        return getattr(self, name) if name else 0.0

    @property
    def shortest(self) -> float:
        """The least of the limits, but for the connection itself; 0: there is none."""
        limits = (self.at(stage) for stage in _LIMITS)
        return min((limit for limit in limits if limit), default=0.0)


_LIMITS = {
    Stage.GREETING: "greeting",
    Stage.EHLO: "greeting",
    Stage.HELO: "greeting",
    Stage.LHLO: "greeting",
    Stage.MAIL: "mail",
    Stage.RCPT: "rcpt",
    Stage.DATA: "data_init",
    Stage.CONTENT: "data_xfer",
    Stage.BDAT: "data_done",
    Stage.END: "data_done",
    Stage.RSET: "rset",
}


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to speak to servers. ``idle`` and ``reuse`` are seconds, ``reuse_count`` 0 is no limit.

    ``in_flight`` messages, and ``in_flight_octets`` of content, may be on their way on a
    connection without an answer yet: what a line with a round trip of half a second and some
    Mbit/s needs to be kept full. ``skip_quit``: don't wait for the answer to QUIT.
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
    assume_final: bool = False
    skip_quit: bool = True
    soft_bounce: bool = False
    idle: float = 2.0
    reuse: float = 300.0
    reuse_count: int = 0
    bind_address: str = ""
    bind_address6: str = ""
    in_flight: int = 100
    in_flight_octets: int = 1 << 18

    def window(self, round_trip: float) -> int:
        """Messages to have under way, where an answer takes ``round_trip`` seconds to come.

        Enough for 200 messages a second. More at a near server would only keep them from other
        connections, which it may serve at the same time.
        """
        return min(self.in_flight, 4 + int(round_trip * 200))

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
            rset=seconds("rset_timeout"),
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
            assume_final=lmtp and settings.flag("lmtp_assume_final"),
            skip_quit=settings.flag(f"{prefix}_skip_quit_response"),
            convert_8bit=not settings.flag("disable_mime_output_conversion"),
            soft_bounce=settings.flag("soft_bounce"),
            idle=seconds("connection_cache_time_limit") if on_demand else 0.0,
            reuse=seconds("connection_reuse_time_limit") if on_demand else 0.0,
            reuse_count=settings.number(f"{prefix}_connection_reuse_count_limit"),
            bind_address=settings.text(f"{prefix}_bind_address"),
            bind_address6=settings.text(f"{prefix}_bind_address6"),
        )
