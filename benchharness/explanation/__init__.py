"""Heat maps: where a network looks, drawn and measured; one stored result for the report."""

from __future__ import annotations

from benchharness.explanation.explaining import Explained, explain
from benchharness.explanation.requests import Request
from benchharness.explanation.subjects import Condition, Network, Subject

__all__ = ["Condition", "Explained", "Network", "Request", "Subject", "explain"]
