"""
The contract suite of ledgers: every form must pass it.

Subclass ``LedgerContract`` in a test module, with the anyio plugin, and provide the
fixture ``ledgers`` (see ``realtime.testing.ledger_kit.Ledgers``)::

    pytestmark = pytest.mark.anyio

    class TestMyLedger(LedgerContract):
        @pytest.fixture
        async def ledgers(self) -> AsyncIterator[Ledgers]: ...
"""

from __future__ import annotations

from realtime.testing.contracts_ledger_cells import CellsContract
from realtime.testing.contracts_ledger_changes import ChangesContract
from realtime.testing.contracts_ledger_marks import MarksContract
from realtime.testing.contracts_ledger_mixed import MixedContract
from realtime.testing.contracts_ledger_model import ModelContract


class LedgerContract(
    MarksContract, MixedContract, CellsContract, ChangesContract, ModelContract
):
    """All of it."""
