"""What the SMTP server says when nothing has to be decided: fixed replies, in Postfix's words.

Without line ends. Those with ``{host}`` or another field are completed by the session.
"""

from __future__ import annotations

from gatewayd.status import Reply

__all__ = ["encode_reply", "printable"]

OK = "250 2.0.0 Ok"
SENDER_OK = "250 2.1.0 Ok"
RECIPIENT_OK = "250 2.1.5 Ok"
CHUNK_OK = "250 2.0.0 Ok: {size} bytes"
QUEUED = "250 2.0.0 Ok: queued as {queue_id}"
START_DATA = "354 End data with <CR><LF>.<CR><LF>"
BYE = "221 2.0.0 Bye"

# Syntax
BAD_SYNTAX = "500 5.5.2 Error: bad syntax"
BAD_UTF8 = "500 5.5.2 Error: bad UTF-8 syntax"
UNKNOWN_COMMAND = "500 5.5.2 Error: command not recognized"
NOT_IMPLEMENTED = "502 5.5.1 Error: command not implemented"
NO_AUTH = "503 5.5.1 Error: authentication not enabled"
HELO_SYNTAX = "501 Syntax: HELO hostname"
EHLO_SYNTAX = "501 Syntax: EHLO hostname"
MAIL_SYNTAX = "501 5.5.4 Syntax: MAIL FROM:<address>"
RCPT_SYNTAX = "501 5.5.4 Syntax: RCPT TO:<address>"
DATA_SYNTAX = "501 5.5.4 Syntax: DATA"
RSET_SYNTAX = "501 5.5.4 Syntax: RSET"
VRFY_SYNTAX = "501 5.5.4 Syntax: VRFY address [SMTPUTF8]"
VRFY_DISABLED = "502 5.5.1 VRFY command is disabled"
ETRN_SYNTAX = "500 Syntax: ETRN domain"
ETRN_PARAMETER = "501 Error: invalid parameter syntax"
BDAT_SYNTAX = "521 5.5.4 Syntax: BDAT count [LAST]"
BDAT_DISABLED = "521 5.5.1 Error: command not implemented"
BAD_SENDER = "501 5.1.7 Bad sender address syntax"
BAD_RECIPIENT = "501 5.1.3 Bad recipient address syntax"
UNSUPPORTED_OPTION = "555 5.5.4 Unsupported option: {option}"
BAD_SIZE = "501 5.5.4 Bad message size syntax"
HUGE_SIZE = "552 5.3.4 Message size exceeds file system imposed limit"
BAD_RET = "501 5.5.4 Bad RET parameter syntax"
BAD_ENVID = "501 5.5.4 Bad ENVID parameter syntax"
BAD_NOTIFY = "501 5.5.4 Error: Bad NOTIFY parameter syntax"
BAD_ORCPT = "501 5.5.4 Error: Bad ORCPT parameter syntax"
DSN_DISABLED = "501 5.7.1 DSN support is disabled"

# Order of commands
HELO_FIRST = "503 5.5.1 Error: send HELO/EHLO first"
NESTED_MAIL = "503 5.5.1 Error: nested MAIL command"
NEED_MAIL = "503 5.5.1 Error: need MAIL command"
NEED_RCPT = "503 5.5.1 Error: need RCPT command"
NO_RECIPIENTS = "554 5.5.1 Error: no valid recipients"
MAIL_AFTER_BDAT = "503 5.5.1 Error: MAIL after BDAT"
RCPT_AFTER_BDAT = "503 5.5.1 Error: RCPT after BDAT"
DATA_AFTER_BDAT = "503 5.5.1 Error: DATA after BDAT"
NULL_BDAT = "551 5.7.1 Null BDAT request"
BDAT_AFTER_ERROR = "551 5.0.0 Discarded {size} bytes after earlier error"
ETRN_HELO_FIRST = "503 Error: send HELO/EHLO first"
ETRN_IN_TRANSACTION = "503 Error: MAIL transaction in progress"
ACCESS_DENIED = "503 5.7.0 Error: access denied for {client}"

# Limits
CHUNK_OVER_LIMIT = "552 5.3.4 Chunk exceeds message size limit"
TOO_MANY_RECIPIENTS = "452 4.5.3 Error: too many recipients"
TOO_MANY_ERRORS = "421 4.7.0 {host} Error: too many errors"
TIMEOUT = "421 4.4.2 {host} Error: timeout exceeded"
SHUTTING_DOWN = "421 4.3.2 {host} Error: service shutting down"
BUSY = "421 4.3.2 {host} Error: all server ports are busy"
RULES_BROKEN = "221 2.7.0 Error: I can break rules, too. Goodbye."
NOT_SYNCHRONIZED = "554 5.5.0 Error: SMTP protocol synchronization"

# Content
TOO_BIG = Reply(552, "5.3.4", "Error: message file too big")
STORE_FULL = Reply(452, "4.3.1", "Insufficient system storage")
STORE_ERROR = Reply(451, "4.3.0", "Error: queue file write error")
NO_ANSWER = Reply(451, "4.3.0", "Temporary lookup failure")

_UNPRINTABLE = dict.fromkeys((*range(32), 127), "?")
_UNPRINTABLE_IN_LINES = {code: "?" for code in _UNPRINTABLE if code != 10}


def printable(line: str) -> str:
    """A reply line that may repeat what the client sent, made harmless."""
    return line.translate(_UNPRINTABLE)


def encode_reply(reply: Reply) -> bytes:
    """A reply as octets for the wire (RFC 5321 §4.2), with CRLF.

    Line feeds in the text make it multi-line; other control characters become ``?``, so that no
    text, wherever it comes from, can forge a reply line.
    """
    head = f"{reply.code}-{reply.status}" if reply.status else f"{reply.code}-"
    lines = [line.rstrip() for line in reply.text.translate(_UNPRINTABLE_IN_LINES).split("\n")]
    gap = " " if reply.status else ""
    made = [f"{head}{gap}{line}" for line in lines]
    made[-1] = f"{made[-1][:3]} {made[-1][4:]}"
    return ("\r\n".join(made) + "\r\n").encode(errors="replace")
