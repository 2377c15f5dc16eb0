"""A comparison as JUnit XML, which CI services show as tests."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from benchharness.comparison import words

if TYPE_CHECKING:
    from benchharness.comparison.endpoints import Endpoint
    from benchharness.comparison.result import StoreComparison


def junit(result: StoreComparison) -> str:
    """Write each endpoint as a test: one that is worse failed, one not comparable is an error.

    An endpoint that is not comparable counts as skipped where another one decides the exit code.
    Under `strict` every missing or suspect cell is a failed test, too.
    """
    suite = ET.Element("testsuite", name=_printable(f"{result.new} against {result.base}"))
    for endpoint in result.endpoints:
        case = _case(suite, f"{endpoint.model}.{endpoint.dataset}", endpoint.family)
        _judge(case, endpoint, result)
    for gap in result.of_kind("missing", "suspect") if result.settings.strict else ():
        case = _case(suite, f"{gap.place.model}.{gap.place.dataset}", gap.place.condition)
        _part(case, "failure", f"{gap.kind}: {gap.reason}")
    suite.attrib["tests"] = str(len(suite))
    for tag, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.attrib[attribute] = str(len(suite.findall(f"testcase/{tag}")))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _judge(case: ET.Element, endpoint: Endpoint, result: StoreComparison) -> None:
    text = words.explain(endpoint, result.settings.tolerance)
    if endpoint.verdict == "worse":
        _part(case, "failure", text)
    elif endpoint.verdict == "not comparable":
        _part(case, "error" if result.exit_code == 2 else "skipped", text)
    else:
        ET.SubElement(case, "system-out").text = _printable(text)


def _case(suite: ET.Element, classname: str, name: str) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", classname=_printable(classname), name=_printable(name), time="0"
    )


def _part(case: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(case, tag, message=_printable(text)).text = _printable(text)


def _printable(text: str) -> str:
    """The text without the characters that XML 1.0 forbids."""
    return "".join(
        sign
        for sign in text
        if sign in string.whitespace[:4]
        or "\x20" <= sign <= "\ud7ff"
        or "\ue000" <= sign <= "\ufffd"
        or sign >= "\U00010000"
    )
