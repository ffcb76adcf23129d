"""DATA and BDAT: how a message's content gets from the client into the queue.

    C: DATA                              C: BDAT 86          (RFC 3030 §2)
    S: 354 …                             C: 86 octets
    C: content CRLF.CRLF                 S: 250 2.0.0 Ok: 86 bytes
    S: 250 2.0.0 Ok: queued as ID        C: BDAT 12 LAST, 12 octets
                                         S: 250 2.0.0 Ok: queued as ID

The content is always read to its end, also when the message is refused on the way: only then do
client and server agree on where commands go on. A BDAT that cannot be parsed ends the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.message import Envelope
from gatewayd.smtp import reply_texts
from gatewayd.smtp.content import BareLf, ContentDecoder, DataDecoder
from gatewayd.smtp.grammar import CommandError, chunk_size
from gatewayd.smtp.phases import Chunking, Phase
from gatewayd.smtp.receiving import Receiving
from gatewayd.smtp.session_events import AskData, AskEndOfData, Begin, Commit
from gatewayd.status import Reply

if TYPE_CHECKING:
    from gatewayd.smtp.session import Session

__all__ = ["Chunk", "bdat", "conclude", "data", "read_chunk", "read_data"]


@dataclass(slots=True)
class Chunk:
    """One BDAT: ``left`` octets are still to come. ``refusal`` is the reply if it's in vain."""

    size: int
    left: int
    last: bool
    refusal: Reply | str = ""


def data(session: Session, argument: str) -> None:
    """DATA (RFC 5321 §4.1.1.4)."""
    if session.chunking is not Chunking.NONE:
        session.fail(reply_texts.DATA_AFTER_BDAT)
    elif session.transaction is None:
        session.fail(reply_texts.NEED_RCPT)
    elif not session.transaction.recipients:
        session.fail(reply_texts.NO_RECIPIENTS)
    elif argument:
        session.fail(reply_texts.DATA_SYNTAX)
    else:
        session.ask(AskData(session.peer, session.transaction), _data_judged)


def _data_judged(session: Session, event: AskData, context: None, refusal: Reply | None) -> None:
    if refusal is not None:
        session.refuse(refusal)
        return
    session.ask(_begin(session, event), _data_begun)


def _begin(session: Session, event: AskData) -> Begin:
    transaction, parameters = event.transaction, session.parameters
    envelope = Envelope(
        transaction.sender,
        parameters.body,
        parameters.smtputf8,
        parameters.ret,
        parameters.envid,
        session.peer,
    )
    return Begin(envelope, transaction.recipients)


def _data_begun(session: Session, event: Begin, context: None, answer: str | Reply) -> None:
    if isinstance(answer, Reply):
        session.refuse(answer)
        return
    settings = session.settings
    decoder = DataDecoder(settings.bare_lf, replace_stray_cr=settings.replace_stray_cr)
    _receive(session, answer, decoder)
    session.say(reply_texts.START_DATA)
    session.phase = Phase.DATA


def _receive(session: Session, queue_id: str, decoder: ContentDecoder) -> None:
    session.receiving = Receiving(
        queue_id, decoder, session.settings.message_size_limit, session.post
    )
    session.log(f"{queue_id}: client={session.client}")


def read_data(session: Session) -> bool:
    """Take what is there of DATA's content."""
    receiving = session.receiving
    octets = session.take_input()
    if not octets or receiving is None:
        return False
    assert isinstance(receiving.decoder, DataDecoder)
    content, rest = receiving.decoder.feed_data(octets)
    receiving.take(content)
    if rest is not None:
        session.put_back(rest)
        receiving.hand_on()
        session.phase = Phase.ENDING
    return True


def bdat(session: Session, argument: str) -> None:
    """BDAT (RFC 3030 §2): the chunk is read whatever becomes of it."""
    if not session.settings.offers("CHUNKING"):
        session.fail(reply_texts.BDAT_DISABLED)
        session.close()
        return
    try:
        size, last = chunk_size(argument)
    except CommandError as error:
        _warn(session, f"malformed BDAT command syntax from {session.client}: BDAT {argument:.100}")
        session.fail(error.reply)
        session.close()
        return
    chunk = Chunk(size, size, last, _out_of_order(session, size, last))
    if session.chunking is Chunking.NONE and not chunk.refusal:
        assert session.transaction is not None
        session.ask(AskData(session.peer, session.transaction), _chunk_judged, chunk)
    else:
        _expect(session, chunk)


def _warn(session: Session, text: str) -> None:
    session.log(f"{session.queue_id or 'NOQUEUE'}: {text}", warning=True)


def _out_of_order(session: Session, size: int, last: bool) -> str:
    """Why a chunk cannot be content, or ""."""
    if size == 0 and not last:
        _warn(session, f"null BDAT request from {session.client}")
        return reply_texts.NULL_BDAT
    if session.chunking is Chunking.FAILED:
        return reply_texts.BDAT_AFTER_ERROR.format(size=size)
    if session.transaction is None:
        return reply_texts.NEED_RCPT
    if not session.transaction.recipients:
        return reply_texts.NO_RECIPIENTS
    return ""


def _chunk_judged(session: Session, event: AskData, chunk: Chunk, refusal: Reply | None) -> None:
    if refusal is None:
        session.ask(_begin(session, event), _chunk_begun, chunk)
        return
    session.log_refusal(refusal)
    chunk.refusal = refusal
    _expect(session, chunk)


def _chunk_begun(session: Session, event: Begin, chunk: Chunk, answer: str | Reply) -> None:
    if isinstance(answer, Reply):
        session.log_refusal(answer)
        chunk.refusal = answer
    else:
        decoder = ContentDecoder(replace_stray_cr=session.settings.replace_stray_cr)
        _receive(session, answer, decoder)
        session.chunking = Chunking.TAKING
    _expect(session, chunk)


def _expect(session: Session, chunk: Chunk) -> None:
    """From here on the input is the chunk."""
    receiving, limit = session.receiving, session.settings.message_size_limit
    if not chunk.refusal and receiving and limit and receiving.size + chunk.size > limit:
        _warn(session, f"BDAT request from {session.client} exceeds message size limit")
        chunk.refusal = reply_texts.CHUNK_OVER_LIMIT
    session.chunk = chunk
    session.phase = Phase.CHUNK


def read_chunk(session: Session) -> bool:
    """Take what is there of BDAT's octets."""
    chunk, receiving = session.chunk, session.receiving
    assert chunk is not None
    if chunk.left:
        octets = session.take_input(chunk.left)
        if not octets:
            return False
        chunk.left -= len(octets)
        if receiving is not None and not chunk.refusal:
            receiving.take(receiving.decoder.feed(octets))
    if not chunk.left:
        _end_chunk(session, chunk)
    return True


def _end_chunk(session: Session, chunk: Chunk) -> None:
    session.phase = Phase.COMMANDS
    session.chunk = None
    receiving = session.receiving
    if not chunk.refusal and receiving is not None and chunk.last:
        receiving.take(receiving.decoder.finish())
        receiving.hand_on()
        session.phase = Phase.ENDING
    elif refusal := chunk.refusal or (receiving.failure if receiving else None):
        _refuse_chunk(session, refusal, chunk.last)
    else:
        session.succeed(reply_texts.CHUNK_OK.format(size=chunk.size))


def _refuse_chunk(session: Session, refusal: Reply | str, last: bool) -> None:
    if last:
        session.forget_transaction()
    else:
        session.forget_content()
        session.chunking = Chunking.FAILED
    if isinstance(refusal, str):
        session.fail(refusal)
    else:
        session.say_reply(refusal)
        session.finish(False)


def conclude(session: Session) -> bool:
    """All the content is there: decide, and make it durable."""
    receiving, settings = session.receiving, session.settings
    assert receiving is not None
    assert session.transaction is not None
    session.phase = Phase.COMMANDS
    session.where = "END-OF-MESSAGE"
    if receiving.decoder.found_bare_lf and settings.note_bare_lf:
        session.log(f"{receiving.queue_id}: bare <LF> received from {session.client}")
    if receiving.failure is not None:
        _refuse_message(session, receiving.failure)
    elif receiving.decoder.found_bare_lf and settings.bare_lf is BareLf.REJECT:
        _refuse_message(session, settings.bare_lf_refusal)
    else:
        question = AskEndOfData(session.peer, session.transaction, receiving.size)
        session.ask(question, _content_judged)
    return True


def _refuse_message(session: Session, refusal: Reply) -> None:
    session.log_refusal(refusal)
    session.forget_transaction()
    session.say_reply(refusal)
    session.finish(False)


def _content_judged(
    session: Session, event: AskEndOfData, context: None, refusal: Reply | None
) -> None:
    if refusal is not None:
        _refuse_message(session, refusal)
    else:
        session.ask(Commit(), _committed)


def _committed(session: Session, event: Commit, context: None, refusal: Reply | None) -> None:
    queue_id = session.queue_id
    if refusal is not None:
        session.log_refusal(refusal)
    session.end_transaction()
    if refusal is None:
        session.succeed(reply_texts.QUEUED.format(queue_id=queue_id))
    else:
        session.say_reply(refusal)
        session.finish(False)
