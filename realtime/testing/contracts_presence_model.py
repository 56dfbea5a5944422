"""
The contract of presence, last part: arbitrary lives, beside a model of sixty lines.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.adapters.presence.port import Presence
from realtime.testing.presence_kit import (
    LONG_S,
    ROOM,
    Presences,
    counts,
    everybody,
    leave,
    member,
    sum_of,
)
from realtime.types import ConnectionId, Member

NODES = 3
MOMENT_S = 0.004  # a lease, or a lingering, that is over after two of them

_nodes = st.integers(0, NODES - 1)
_users = st.sampled_from([None, "ann", "bob"])
_join = st.tuples(st.just("join"), _nodes, _users)
_steps = st.one_of(
    _join,
    _join,
    _join,
    st.tuples(st.just("again"), _nodes, st.integers(0, 9)),
    st.tuples(st.just("leave"), _nodes, st.integers(0, 9)),
    st.tuples(st.just("linger"), _nodes, st.integers(0, 9)),
    st.tuples(st.just("linger shortly"), _nodes, st.integers(0, 9)),
    st.tuples(st.just("sleep"), _nodes, st.none()),
    st.tuples(st.just("die"), _nodes, st.none()),
    st.tuples(st.just("wake"), _nodes, st.none()),
    st.tuples(st.just("lose"), _nodes, st.none()),
)
Step = tuple[str, int, object]


@dataclass
class Model:
    """Who is there, by node; who lingers; who has gone; whose lease has ended."""

    there: list[list[Member]] = field(
        default_factory=lambda: [[] for _ in range(NODES)]
    )
    lingering: list[Member] = field(default_factory=list)
    gone: list[Member] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)

    @property
    def members(self) -> list[Member]:
        return [one for part in [*self.there, self.lingering] for one in part]

    def remaining(self, one: Member) -> list[Member]:
        """The other connections of the same user."""
        others = [other for other in self.members if other.client != one.client]
        return [other for other in others if one.user and other.user == one.user]

    def join(self, node: int, one: Member) -> tuple[bool, int]:
        first = not self.remaining(one)
        self.there[node] = [x for x in self.there[node] if x.client != one.client]
        if one.user is not None:
            self.lingering = [x for x in self.lingering if x.user != one.user]
        self.there[node].append(one)
        return first, 1 + len(self.remaining(one))

    def leave(self, node: int, one: Member) -> None:
        self.there[node].remove(one)
        self.go(one)

    def go(self, one: Member) -> None:
        if not self.remaining(one):
            self.gone.append(one)

    def end(self, node: int) -> list[Member]:
        """The node's lease ends; return whom it still believes to be there."""
        mine, self.there[node] = self.there[node], []
        order = sorted(mine, key=lambda one: one.client)
        left = Counter(one.user for one in order)
        for one in order:  # which of a user's connections is told is open
            left[one.user] -= 1
            if one.user is None or (not left[one.user] and not self.remaining(one)):
                self.gone.append(one)
        if mine:
            self.ended.add(node)
        return mine

    def wake(self, node: int, mine: list[Member]) -> list[Member]:
        back = []
        for one in mine:
            if node in self.ended and not self.remaining(one):
                back.append(one)
            self.there[node].append(one)
        self.ended.discard(node)
        return back

    def lose(self) -> None:
        self.there = [[] for _ in range(NODES)]
        self.lingering, self.gone, self.ended = [], [], set()


class Life:
    """The same steps for a form of presence and for the model."""

    def __init__(self, presences: Presences, nodes: list[Presence]) -> None:
        self.presences = presences
        self.nodes = nodes
        self.model = Model()
        self.believed: list[list[Member]] = [[] for _ in nodes]  # by each node
        self.gone: list[Member] = []
        self.clients = 0

    async def step(self, what: str, node: int, detail: object) -> None:
        mine = self.believed[node]
        if what == "join":
            self.clients += 1
            user = detail if isinstance(detail, str) else None
            await self.join(node, member(f"c{self.clients:03}", user))
        elif what in ("again", "leave", "linger", "linger shortly"):
            if mine and isinstance(detail, int):
                await self.one(what, node, mine[detail % len(mine)])
        elif what in ("sleep", "die"):
            await self.end(node)
            if what == "die":
                mine.clear()
        elif what == "wake":
            await self.mend(node)
        else:
            await self.collect()
            await self.presences.lose()
            self.model.lose()

    async def join(self, node: int, one: Member) -> None:
        await self.mend(node)
        arrival = await self.nodes[node].join(ROOM, one, LONG_S)
        self.gone += arrival.gone
        assert (arrival.first, arrival.connections) == self.model.join(node, one)
        mine = self.believed[node]
        mine[:] = [x for x in mine if x.client != one.client] + [one]

    async def one(self, what: str, node: int, one: Member) -> None:
        await self.mend(node)
        if what == "again":
            await self.join(node, Member(one.client, one.user, one.info))
            return
        self.believed[node].remove(one)
        linger_s = {"leave": 0.0, "linger": LONG_S}.get(what, MOMENT_S)
        client = ConnectionId(one.client)
        self.gone += await leave(self.nodes[node], ROOM, client, one.user, linger_s)
        if what == "linger" and one.user is not None:
            self.model.there[node].remove(one)
            self.model.lingering.append(one)
            return
        if linger_s:
            await self.presences.pass_time(2 * MOMENT_S)
        self.model.leave(node, one)

    async def end(self, node: int) -> None:
        await self.mend(node)
        mine = [(ROOM, sum_of(self.believed[node]))]
        _, gone = await self.nodes[node].touch(mine, MOMENT_S)
        self.gone += [one for _, one in gone]
        await self.presences.pass_time(2 * MOMENT_S)
        self.model.end(node)

    async def mend(self, node: int) -> None:
        """What a node does when the store knows others of it."""
        mine = self.believed[node]
        presence = self.nodes[node]
        differing, gone = await presence.touch([(ROOM, sum_of(mine))], LONG_S)
        self.gone += [one for _, one in gone]
        if not differing:
            return
        back = await presence.restore(ROOM, mine, LONG_S)
        missing = [one for one in mine if one not in self.model.there[node]]
        expected = self.model.wake(node, missing)
        assert Counter(one.user for one in back) == Counter(o.user for o in expected)

    async def collect(self) -> None:
        """Nobody who has gone is forgotten, and nobody is told twice."""
        for node, presence in enumerate(self.nodes):
            mine = [(ROOM, sum_of(self.believed[node]))]
            _, gone = await presence.touch(mine, LONG_S)
            self.gone += [one for _, one in gone]
        told = Counter(one.user or one.client for one in self.gone)
        assert told == Counter(one.user or one.client for one in self.model.gone)
        self.gone, self.model.gone = [], []

    async def check(self) -> None:
        """What every node reads is what the model says."""
        expected = sorted(self.model.members, key=lambda one: one.client)
        users = {one.user for one in expected if one.user is not None}
        for presence in self.nodes:
            found = await everybody(presence, limit=2)
            assert sorted(found, key=lambda one: one.client) == expected
            assert await counts(presence) == (len(expected), len(users))


class ModelContract:
    """Whatever happens, in whatever order: everything is as the model says."""

    @given(steps=st.lists(_steps, min_size=10, max_size=30))
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    async def test_any_life_is_as_the_model_says(
        self, presences: Presences, steps: list[Step]
    ) -> None:
        """Joins, leaves, lingering, ends of leases, sleep, death and loss."""
        await presences.lose()
        life = Life(presences, [await presences.open() for _ in range(NODES)])
        for step in steps:
            await life.step(*step)
            await life.check()
        await life.collect()
