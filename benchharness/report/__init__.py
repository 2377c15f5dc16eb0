"""Records → tables, figures and a page. Derives everything, writes no record, imports no torch."""

from benchharness.report.choice import Choice
from benchharness.report.formats.terminal import overview
from benchharness.report.writing import Report, write

__all__ = ["Choice", "Report", "overview", "write"]
