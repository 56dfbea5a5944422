"""What the values of the broker's port refuse."""

from __future__ import annotations

import pytest

from realtime.adapters.broker.port import Keep, PublishOptions

KEEP = Keep(size=5, ttl_s=60.0, meta_ttl_s=60.0)


@pytest.mark.parametrize(
    ("keep", "version"), [(None, 1), (KEEP, -1), (KEEP, 2**63), (None, 0)]
)
def test_a_version_needs_a_history_and_has_a_range(
    keep: Keep | None, version: int
) -> None:
    """Options that no broker can fulfil cannot be made."""
    with pytest.raises(ValueError, match="version"):
        PublishOptions(keep, version=version)
