"""What every reader of results takes: records, and the predictions behind each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record


class Source(Protocol):
    """Where records and predictions come from: `folder.Store` or `baseline.Baseline`."""

    def records(self) -> Mapping[str, Record]:
        """The newest record of every identity, in the order of first appearance."""
        ...

    def predictions(self, record: Record) -> Predictions:
        """The predictions of a record that has some.

        Raises:
            BenchError: When the record has none, or they cannot be read.
        """
        ...
