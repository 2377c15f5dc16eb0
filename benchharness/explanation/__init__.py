"""Heat maps: where a network looks, drawn and measured; one stored result for the report."""

from __future__ import annotations

from benchharness.explanation.session import Explained, Request, explain

__all__ = ["Explained", "Request", "explain"]
