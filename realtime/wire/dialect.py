"""
What a wire protocol is to the rest of the server: bytes to commands, replies to bytes.

A dialect knows nothing of sessions: whether a command is allowed now is decided above.
"""

from __future__ import annotations

from typing import Protocol

from realtime.wire.frames import FrameKey, Opcode
from realtime.wire.messages import Command, Reply


class Dialect(Protocol):
    """One wire protocol with one codec. Has no state: one object serves everybody."""

    @property
    def name(self) -> str:
        """The WebSocket sub-protocol by which a client asks for it."""

    @property
    def opcode(self) -> Opcode:
        """TEXT or BINARY: the kind of message that it speaks and expects."""

    @property
    def frame_key(self) -> FrameKey:
        """Which form of a prepared push its subscribers are given."""

    def decode(self, data: bytes) -> Command:
        """
        Return the command that one whole message is.

        Raises:
            InvalidUtf8: If it is a text that is not UTF-8; close with 1007.
            Undecodable: If it is no object in this codec; close with ``bad_frame``.
            CommandError: If its type is unknown or a field is missing or wrong.
        """

    def load(self, data: bytes) -> object:
        """
        Return the plain value that a message is, with nothing of it decided.

        It must be given to `check` or `command` before it is believed. Raises as
        `decode` does for what is no value at all.
        """

    def check(self, value: object, data: bytes) -> None:
        """Raise Undecodable if what was loaded from *data* is not to be taken."""

    def command(self, value: object, data: bytes) -> Command:
        """Return the command that was loaded from *data*; raise as `decode` does."""

    def events(self, message: bytes) -> list[object]:
        """Return the events of a ``track`` command that was loaded from *message*."""

    def ack(self, mark: int) -> bytes:
        """Return the frame of an ``Ack`` of *mark* that has nothing rejected."""

    def encode(self, message: Reply) -> bytes:
        """Return the payload of *message*; empty when the protocol has no such one."""

    def frame(self, message: Reply) -> bytes:
        """Return the complete WebSocket frame of *message*; empty if it has no form."""
