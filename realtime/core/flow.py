"""
How publications reach one subscriber: which of them, how often, and what gives way.

A flow is made of what the namespace says and what the client asks. Subscribers of a
channel that have equal flows share all work. Law: a client may ask for less than the
namespace offers, never for more, and for intervals in steps, so that flows are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from realtime.core.filters import Filter, compile_filter
from realtime.core.namespaces import NamespaceDefinition, Overflow
from realtime.errors import BAD_MESSAGE, NOT_AVAILABLE, CommandError
from realtime.types import Publication, PublicationKind
from realtime.wire.messages import Subscribe

_MESSAGE, _GAP = PublicationKind.MESSAGE, PublicationKind.GAP

STEPS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
"""The intervals that clients get: what they ask for is rounded up to one of these."""


@dataclass(frozen=True, slots=True)
class Flow:
    """
    What happens to publications on their way to one subscriber.

    *filter* lets through those it matches. With *interval_s*, at most one publication
    per value of the tag *by* (without one, of the channel) leaves per interval, the
    latest. With *batch_s*, publications wait for others for so long, to leave together.
    *overflow* is what happens when the subscriber's outbox is full. *join_leave*: who
    comes and goes is told.
    """

    filter: Filter | None = None
    interval_s: float = 0.0
    by: str | None = None
    batch_s: float = 0.0
    overflow: Overflow = Overflow.DISCONNECT
    join_leave: bool = False

    @property
    def skips(self) -> bool:
        """Whether offsets may jump: publications are left out or merged."""
        return (
            self.filter is not None
            or self.interval_s > 0
            or self.overflow is Overflow.COALESCE
        )

    @property
    def holds(self) -> bool:
        """Whether publications may wait before they leave."""
        return self.interval_s > 0 or self.batch_s > 0

    def admits(self, publication: Publication) -> bool:
        """Whether the filter and ``join_leave`` let *publication* through."""
        # Hot: once per group and publication; looking up a member of an enum is slow.
        kind = publication.kind
        if kind is _MESSAGE:
            return self.filter is None or self.filter.matches(publication.tags)
        return kind is _GAP or self.join_leave

    def key_of(self, publication: Publication) -> str | None:
        """
        Return what tells *publication* from those that it may replace.

        None stands for all that do not carry the tag, and for all without *by*.
        """
        if self.by is None or publication.tags is None:
            return None
        return publication.tags.get(self.by)

    def thin(self, publications: Iterable[Publication]) -> Sequence[Publication]:
        """
        Return what is left of *publications* that were missed, in their order.

        Of those that would be merged if they came now, only the latest of each key.
        """
        wanted = [one for one in publications if self.admits(one)]
        if not self.interval_s:
            return wanted
        latest = {self.key_of(one): at for at, one in enumerate(wanted)}
        return [wanted[at] for at in sorted(latest.values())]


DIRECT = Flow()
"""Every publication, at once: what a namespace without options offers."""


def flow_of(definition: NamespaceDefinition, command: Subscribe) -> Flow:
    """
    Return the flow of a subscriber to a channel of the namespace *definition*.

    It is ``DIRECT`` itself when nothing else was asked for.

    Raises:
        CommandError: BAD_MESSAGE for a filter or an interval that is malformed;
            NOT_AVAILABLE for join and leave in a namespace that does not tell them.
    """
    if command.join_leave and not definition.join_leave:
        raise CommandError(
            NOT_AVAILABLE,
            f"join_leave: the namespace {definition.name} does not tell it",
            field="join_leave",
        )
    shortest_s = 1 / definition.max_rate if definition.max_rate else 0.0
    flow = Flow(
        filter=None if command.filter is None else compile_filter(command.filter),
        interval_s=max(
            definition.conflate_s, shortest_s, interval_of(command.interval_s)
        ),
        by=definition.conflate_by,
        batch_s=definition.batch_s,
        overflow=definition.overflow,
        join_leave=command.join_leave,
    )
    return DIRECT if flow == DIRECT else flow


def live_flow_of(command: Subscribe) -> Flow:
    """
    Return the flow of a watcher of a live channel, which may ask for an interval.

    Values of a live channel replace one another anyway; a slower client gets the latest
    at most once per interval, on top of the counter's cadence.

    Raises:
        CommandError: BAD_MESSAGE for a malformed interval; NOT_AVAILABLE for a filter,
            and for join and leave: values have no tags, and watchers no names.
    """
    for field in ("filter", "join_leave"):
        if getattr(command, field):
            raise CommandError(
                NOT_AVAILABLE, f"{field}: live channels do not offer it", field=field
            )
    interval_s = interval_of(command.interval_s)
    if not interval_s:
        return DIRECT
    return Flow(interval_s=interval_s, overflow=Overflow.COALESCE)


def interval_of(asked_s: float | None) -> float:
    """
    Return the step that a client gets who asks for *asked_s*; 0 if it asks for none.

    Raises:
        CommandError: BAD_MESSAGE if that is no interval, or longer than the last step.
    """
    if not asked_s:
        return 0.0
    if not 0 < asked_s <= STEPS_S[-1]:  # nor NaN
        raise CommandError(
            BAD_MESSAGE,
            f"interval_s: must be between 0 and {STEPS_S[-1]:g}, not {asked_s!r}",
            field="interval_s",
        )
    return next(step for step in STEPS_S if step >= asked_s)
