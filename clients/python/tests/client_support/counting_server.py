"""A server in this process that counts, and cuts connections if it is told to."""

from __future__ import annotations

from contextlib import suppress
from random import Random

from websockets.exceptions import ConnectionClosed

from client_support.ledger_model import Ledger, Message, ModelSession
from client_support.scripted_server import Conversation, ScriptedServer

CUT = 0.1  # how often, at each of three moments of a batch


class CountingServer:
    """
    Counts what clients send, in a ledger that outlives their connections.

    With a *random*, it cuts connections: before a batch is taken, before it is counted,
    and before that is told.
    """

    def __init__(
        self, server: ScriptedServer, ledger: Ledger, random: Random | None = None
    ) -> None:
        self.ledger = ledger
        self.frames = 0
        self.cuts = 0
        self._server = server
        self._random = random

    async def run(self) -> None:
        """Serve one connection after the other."""
        while True:
            conversation = await self._server.accept_whenever()
            with suppress(ConnectionClosed):
                await self._serve(conversation)

    async def _serve(self, conversation: Conversation) -> None:
        hello = await conversation.receive("hello")
        session = ModelSession(self.ledger, hello)
        await conversation.answer(hello, session.mark)
        while True:
            message = await conversation.receive()
            if message["type"] != "track":
                continue
            self.frames += 1
            if self._cut(conversation):
                return
            said = session.track(message)
            if self._cut(conversation):
                return
            replies = [said, *session.tick()]
            if self._cut(conversation):
                return
            await self._say(conversation, replies)

    def _cut(self, conversation: Conversation) -> bool:
        if self._random is None or self._random.random() > CUT:
            return False
        self.cuts += 1
        conversation.cut()
        return True

    async def _say(
        self, conversation: Conversation, replies: list[Message | None]
    ) -> None:
        for reply in replies:
            if reply is not None:
                await conversation.send(reply.pop("type"), **reply)
