"""Heat maps: where a network looks, drawn and measured; one stored result for the report.

`requests` holds what `bench explain` was asked for, `subjects` the networks and their volumes.
`explaining` does the whole: `gradcam` makes a map and `mapping` those of a split, `measures` judges
maps and `measuring` summarises them, `figures` draws one volume and `drawing` all of them.
"""

from __future__ import annotations

from benchharness.explanation.explaining import Explained, explain
from benchharness.explanation.requests import Request
from benchharness.explanation.subjects import Condition, Network, Subject

__all__ = ["Condition", "Explained", "Network", "Request", "Subject", "explain"]
