"""
The offer of compression (permessage-deflate), and what of it we use ourselves.

What a server sends compressed is unpacked. Of our own messages only large ones are
compressed: the extension of the library would take time for every acknowledgement.
"""

from __future__ import annotations

from collections.abc import Sequence

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import Frame
from websockets.typing import ExtensionParameter

MIN_BYTES = 1024
"""Smaller messages fit into one packet of the network, compressed or not."""

_SETTINGS = {"level": 1, "memLevel": 5}  # a page of text in 20 us


class Sparing(PerMessageDeflate):
    """Leaves small messages as they are, which the receiver accepts (RFC 7692, 6)."""

    def encode(self, frame: Frame) -> Frame:
        """Compress a large message. We send none in fragments."""
        return frame if len(frame.data) < MIN_BYTES else super().encode(frame)


class Offer(ClientPerMessageDeflateFactory):
    """Offers compression, without a context of our own that would take memory."""

    def __init__(self) -> None:
        super().__init__(
            client_no_context_takeover=True,
            client_max_window_bits=12,
            compress_settings=_SETTINGS,
        )

    def process_response_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> PerMessageDeflate:
        """Take what the server has agreed to, or raise NegotiationError."""
        agreed = super().process_response_params(params, accepted_extensions)
        return Sparing(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
            self.compress_settings,
        )
