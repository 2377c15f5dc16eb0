"""A comparison in every format: tables for a terminal, Markdown, JSON and JUnit XML."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchharness.comparison.junit import junit
from benchharness.comparison.markdown import markdown
from benchharness.comparison.terminal import table
from benchharness.comparison.words import explain, headline
from benchharness.outside import escaping

if TYPE_CHECKING:
    from benchharness.comparison.result import StoreComparison

__all__ = ["as_json", "explain", "headline", "junit", "markdown", "table"]

JSON_SCHEMA = 1
"""Version of the layout of `as_json`."""


def as_json(result: StoreComparison) -> str:
    """Everything as JSON with a versioned layout, for programs."""
    payload: dict[str, Any] = {
        "schema": JSON_SCHEMA,
        "verdict": result.verdict,
        "exit_code": result.exit_code,
        "base": result.base,
        "new": result.new,
        "settings": asdict(result.settings),
        "endpoints": [
            asdict(endpoint) | {"verdict": endpoint.verdict} for endpoint in result.endpoints
        ],
        "cells": [asdict(cell) for cell in result.cells],
        "gaps": [asdict(gap) for gap in result.gaps],
        "notes": list(result.notes),
        "origins": dict(zip(("base", "new"), map(asdict, result.origins), strict=True)),
    }
    text = json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False)
    return escaping.json(text) + "\n"
