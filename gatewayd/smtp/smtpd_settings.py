"""What main.cf says to the SMTP server, read once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.smtp.content import BareLf
from gatewayd.status import Reply

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["SmtpdSettings"]

_BARE_LF = {
    "no": (BareLf.ACCEPT, False),
    "yes": (BareLf.NORMALIZE, False),
    "normalize": (BareLf.NORMALIZE, False),
    "note": (BareLf.NORMALIZE, True),
    "reject": (BareLf.REJECT, False),
}
_INLINE_PATTERN = re.compile(r"(?:regexp|pcre):\{\s*\{\s*/(.+)/\S*\s.*\}\s*\}\Z", re.DOTALL)
# In the order of EHLO's reply; STARTTLS and AUTH come between ETRN and ENHANCEDSTATUSCODES.
_KEYWORDS = (
    "PIPELINING",
    "SIZE",
    "VRFY",
    "ETRN",
    "ENHANCEDSTATUSCODES",
    "8BITMIME",
    "DSN",
    "SMTPUTF8",
    "CHUNKING",
)


@dataclass(frozen=True, slots=True)
class SmtpdSettings:
    """The settings of one smtpd service, named after main.cf's parameters without ``smtpd_``.

    Times in seconds, sizes in octets; 0 means no limit for ``message_size_limit``,
    ``client_connection_count_limit`` and ``process_limit`` (master.cf's maxproc).
    ``ehlo_keywords`` holds what is offered, arguments included.
    """

    myhostname: str
    banner: str = ""
    helo_required: bool = False
    timeout: float = 300.0
    answer_timeout: float = 3600.0
    line_length_limit: int = 2048
    message_size_limit: int = 10240000
    recipient_limit: int = 1000
    recipient_overshoot_limit: int = 1000
    soft_error_limit: int = 10
    hard_error_limit: int = 20
    error_sleep_time: float = 1.0
    junk_command_limit: int = 100
    noop_commands: frozenset[str] = frozenset()
    forbidden_commands: frozenset[str] = frozenset({"CONNECT", "GET", "POST"})
    forbidden_patterns: tuple[re.Pattern[str], ...] = (re.compile("^[^A-Z]", re.IGNORECASE),)
    forbid_unauth_pipelining: bool = True
    bare_lf: BareLf = BareLf.NORMALIZE
    note_bare_lf: bool = False
    bare_lf_code: int = 550
    replace_stray_cr: bool = True
    discard_ehlo_keywords: frozenset[str] = frozenset()
    disable_vrfy: bool = False
    strict_envelopes: bool = False
    smtputf8: bool = True
    strict_smtputf8: bool = False
    client_connection_count_limit: int = 50
    client_port_logging: bool = False
    process_limit: int = 100
    ehlo_keywords: tuple[str, ...] = field(init=False)
    bare_lf_refusal: Reply = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ehlo_keywords", tuple(self._offered()))
        text = f"{self.myhostname} Error: bare <LF> received"
        object.__setattr__(self, "bare_lf_refusal", Reply(self.bare_lf_code, "5.5.2", text))

    def offers(self, keyword: str) -> bool:
        """Whether EHLO's reply names the extension."""
        return keyword in self.ehlo_keywords

    def _offered(self) -> list[str]:
        absent = set(self.discard_ehlo_keywords)
        if self.disable_vrfy:
            absent.add("VRFY")
        if not self.smtputf8:
            absent.add("SMTPUTF8")
        size = f"SIZE {self.message_size_limit}" if self.message_size_limit else "SIZE"
        return [size if each == "SIZE" else each for each in _KEYWORDS if each not in absent]

    @classmethod
    def from_settings(cls, settings: Settings, *, process_limit: int = 0) -> SmtpdSettings:
        """main.cf as one smtpd service sees it, its -o overrides included. Raises ConfigError."""
        bare_lf, note = _bare_lf(settings.text("smtpd_forbid_bare_newline"))
        names, patterns = _forbidden(settings.words("smtpd_forbidden_commands"))
        return cls(
            myhostname=settings.text("myhostname"),
            banner=settings.text("smtpd_banner"),
            helo_required=settings.flag("smtpd_helo_required"),
            timeout=settings.seconds("smtpd_timeout"),
            answer_timeout=settings.seconds("ipc_timeout"),
            line_length_limit=max(512, settings.number("line_length_limit")),
            message_size_limit=settings.number("message_size_limit"),
            recipient_limit=settings.number("smtpd_recipient_limit"),
            recipient_overshoot_limit=settings.number("smtpd_recipient_overshoot_limit"),
            soft_error_limit=settings.number("smtpd_soft_error_limit"),
            hard_error_limit=settings.number("smtpd_hard_error_limit"),
            error_sleep_time=settings.seconds("smtpd_error_sleep_time"),
            junk_command_limit=settings.number("smtpd_junk_command_limit"),
            noop_commands=_upper(settings.words("smtpd_noop_commands")),
            forbidden_commands=names,
            forbidden_patterns=patterns,
            forbid_unauth_pipelining=settings.flag("smtpd_forbid_unauth_pipelining"),
            bare_lf=bare_lf,
            note_bare_lf=note,
            bare_lf_code=settings.number("smtpd_forbid_bare_newline_reject_code"),
            replace_stray_cr=settings.flag("cleanup_replace_stray_cr_lf"),
            discard_ehlo_keywords=_upper(settings.words("smtpd_discard_ehlo_keywords")),
            disable_vrfy=settings.flag("disable_vrfy_command"),
            strict_envelopes=settings.flag("strict_rfc821_envelopes"),
            smtputf8=settings.flag("smtputf8_enable"),
            strict_smtputf8=settings.flag("strict_smtputf8"),
            client_connection_count_limit=settings.number("smtpd_client_connection_count_limit"),
            client_port_logging=settings.flag("smtpd_client_port_logging"),
            process_limit=process_limit,
        )


def _problem(name: str, text: str) -> ConfigError:
    return ConfigError([ConfigProblem("main.cf", 0, f"{name}: {text}")])


def _bare_lf(text: str) -> tuple[BareLf, bool]:
    found = _BARE_LF.get(text.strip().lower())
    if found is None:
        choices = ", ".join(_BARE_LF)
        raise _problem("smtpd_forbid_bare_newline", f"{text!r} is none of {choices}")
    return found


def _upper(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.upper() for word in words)


def _forbidden(words: tuple[str, ...]) -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """(names, patterns) of smtpd_forbidden_commands: words and ``regexp:{{/…/ text}}``."""
    names, patterns = [], []
    for word in words:
        if ":" not in word:
            names.append(word)
            continue
        found = _INLINE_PATTERN.match(word)
        try:
            if found is None:
                raise _problem("smtpd_forbidden_commands", f"only inline patterns, not {word!r}")
            patterns.append(re.compile(found[1], re.IGNORECASE))
        except re.error as error:
            text = f"bad pattern {word!r}: {error}"
            raise _problem("smtpd_forbidden_commands", text) from None
    return _upper(tuple(names)), tuple(patterns)
