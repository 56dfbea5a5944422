"""What becomes of offers of compression, in the handshake and on the open socket."""

from __future__ import annotations

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.frames import Opcode as AnyOpcode
from websockets.protocol import OPEN, Protocol, Side

from realtime.edges.compression import agree
from realtime.edges.handshake import Accepted, Refused, Rules, shake_hands
from realtime.settings import LimitSettings, ServerSettings
from tests.edges.support import LIMITS, REQUEST, Line

NAME = "permessage-deflate"
OURS = "server_no_context_takeover; client_no_context_takeover"


def terms(*offers: str) -> str | None:
    """Return the parameters that are agreed on; None: no compression."""
    agreed = agree(offers)
    return None if agreed is None else agreed.header.removeprefix(f"{NAME}; ")


@pytest.mark.parametrize(
    "offer",
    [
        NAME,
        f"{NAME}; client_max_window_bits",
        f"{NAME}; server_no_context_takeover; client_no_context_takeover",
        f"{NAME}; server_max_window_bits=15",
        f"{NAME}; server_max_window_bits=12; client_max_window_bits",
        f'{NAME}; server_max_window_bits="13"',
    ],
)
def test_usual_offers_are_accepted_without_any_context(offer: str) -> None:
    """Neither side keeps a context, asked or not; our window is always told."""
    assert terms(offer) == f"{OURS}; server_max_window_bits=12"
    agreed = agree([offer])
    assert agreed is not None
    assert agreed.window_bits == 12


@pytest.mark.parametrize("bits", [9, 10, 11])
def test_a_small_window_is_promised_and_the_smallest_is_used(bits: int) -> None:
    """There are two windows of ours, so that what is made with one can be shared."""
    agreed = agree([f"{NAME}; server_max_window_bits={bits}"])

    assert agreed is not None
    assert agreed.header == f"{NAME}; {OURS}; server_max_window_bits={bits}"
    assert agreed.window_bits == 9


def test_the_client_keeps_to_the_window_that_it_offers() -> None:
    """Its value comes back; without a value nothing is asked of it."""
    assert terms(f"{NAME}; client_max_window_bits=10") == (
        f"{OURS}; server_max_window_bits=12; client_max_window_bits=10"
    )


@pytest.mark.parametrize(
    "parameters",
    [
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=8",  # zlib cannot
        "server_max_window_bits=16",
        "server_max_window_bits=012",
        "server_max_window_bits=ten",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "server_max_window_bits=12; server_max_window_bits=12",
        "client_max_window_bits; client_max_window_bits=12",
        "level=9",
    ],
)
def test_an_offer_with_wrong_parameters_is_declined(parameters: str) -> None:
    """Declined, not refused; and the next one counts (RFC 7692, 5.1 and 7.1)."""
    offer = f"{NAME}; {parameters}"

    assert agree([offer]) is None
    assert terms(f"{offer}, {NAME}") == f"{OURS}; server_max_window_bits=12"


def test_the_first_acceptable_offer_is_taken() -> None:
    """In one header or in several, among extensions that nobody knows."""
    small = f"{NAME}; server_max_window_bits=9"
    for offers in ([f"x-shrink; a=1, {small}, {NAME}"], ["x-shrink", small, NAME]):
        assert terms(*offers) == f"{OURS}; server_max_window_bits=9"


def test_no_offer_is_no_compression() -> None:
    """No header, or extensions of others only."""
    assert agree([]) is None
    assert agree(["x-webkit-deflate-frame", "bbf-usp"]) is None


def test_long_offers_are_understood_and_not_remembered() -> None:
    """A head has room for more than is kept for the next one."""
    many = ", ".join(f"{NAME}; unknown={number}" for number in range(40))

    assert terms(f"{many}, {NAME}") == f"{OURS}; server_max_window_bits=12"


@pytest.mark.parametrize("offer", [";", f"{NAME};", f"{NAME}; =1", f"{NAME} x", "a@b"])
def test_a_header_that_cannot_be_read_is_an_error(offer: str) -> None:
    """It is no offer that could be declined (RFC 6455, 9.1)."""
    with pytest.raises(ValueError, match="Sec-WebSocket-Extensions"):
        agree([offer])


# -- the handshake ---------------------------------------------------------------------


def ask(extensions: str, *, compression: bool = True) -> Accepted | Refused:
    """Shake hands with an offer."""
    line = b"Sec-WebSocket-Extensions: %b\r\n\r\n" % extensions.encode()
    head = REQUEST.removesuffix(b"\r\n") + line
    return shake_hands(head, Rules(("",), (), compression=compression))


def test_the_answer_of_the_handshake_tells_the_terms() -> None:
    """Where compression is switched on."""
    outcome = ask(NAME)

    assert isinstance(outcome, Accepted)
    assert outcome.compression == agree([NAME])
    told = (
        f"\r\nSec-WebSocket-Extensions: {NAME}; {OURS}; server_max_window_bits=12\r\n"
    )
    assert told.encode() in outcome.response


@pytest.mark.parametrize(
    "extensions, compression", [(NAME, False), ("x-shrink", True), (f"{NAME}; a", True)]
)
def test_without_agreement_the_answer_tells_of_no_extension(
    extensions: str, compression: bool
) -> None:
    """It is off, or nothing acceptable was offered: the WebSocket opens as ever."""
    outcome = ask(extensions, compression=compression)

    assert isinstance(outcome, Accepted)
    assert outcome.compression is None
    assert b"Extensions" not in outcome.response


def test_an_unreadable_offer_is_refused_with_a_reason() -> None:
    """400, and what is wrong."""
    outcome = ask(f"{NAME}; =1")

    assert isinstance(outcome, Refused)
    assert outcome.status == 400
    assert b"Sec-WebSocket-Extensions" in outcome.response


# -- the open socket -------------------------------------------------------------------


def a_line(
    offer: str = NAME,
    *,
    compression: bool = True,
    echo: bool = False,
    limits: LimitSettings = LIMITS,
) -> Line:
    """Return a WebSocket that was opened with *offer*."""
    line = Line(server=ServerSettings(compression=compression), limits=limits)
    if echo:
        line.host.make = None
    head = REQUEST.removesuffix(b"\r\n")
    line.transport.feed(
        b"%bSec-WebSocket-Extensions: %b\r\n\r\n" % (head, offer.encode())
    )
    assert line.transport.take().startswith(b"HTTP/1.1 101 ")
    return line


def client_frame(opcode: int, message: bytes, compressed: bool = False) -> bytes:
    """Build the frame of one message as the library does."""
    extensions = [PerMessageDeflate(True, True, 15, 15)] if compressed else []
    frame = Frame(AnyOpcode(opcode), message)
    return frame.serialize(mask=True, extensions=extensions)


def test_a_compressed_message_reaches_the_peer_as_it_was() -> None:
    """So does one that is not compressed."""
    line = a_line()
    line.transport.feed(client_frame(1, b"small", compressed=True))
    line.transport.feed(client_frame(1, b"plain"))

    assert line.peer.messages == [(b"small", False), (b"plain", False)]


@pytest.mark.parametrize(
    "offer, compression", [(NAME, False), ("x-shrink", True)], ids=["off", "no offer"]
)
def test_without_agreement_a_compressed_frame_is_an_error(
    offer: str, compression: bool
) -> None:
    """RFC 6455, 5.2: a reserved bit without an extension that gives it a meaning."""
    line = a_line(offer, compression=compression)
    line.transport.feed(client_frame(1, b"small", compressed=True))

    assert line.peer.messages == []
    [(opcode, payload)] = line.frames()
    assert (opcode, payload[:2]) == (8, (1002).to_bytes(2, "big"))


@pytest.mark.parametrize("bits", range(9, 16))
def test_what_is_sent_is_compressed_for_the_window_of_the_client(bits: int) -> None:
    """The client reads it, with the window that it has offered."""
    limits = LimitSettings(max_frame_bytes=100_000)
    line = a_line(f"{NAME}; server_max_window_bits={bits}", echo=True, limits=limits)
    message = bytes(range(200)) * 400
    line.transport.feed(client_frame(2, message))

    data = line.transport.take()
    client = Protocol(Side.CLIENT, state=OPEN)
    client.extensions = [PerMessageDeflate(True, True, min(bits, 12), 15)]
    client.receive_data(data)
    [frame] = client.events_received()

    assert isinstance(frame, Frame)
    assert bytes(frame.data) == message
    assert len(data) < len(message) / 2
