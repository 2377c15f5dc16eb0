"""A comparison as JUnit XML, which CI services show as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from benchharness.comparison import words
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from benchharness.comparison.endpoints import Endpoint
    from benchharness.comparison.result import StoreComparison


def junit(result: StoreComparison) -> str:
    """Write each endpoint as a test: one that is worse failed, one not comparable is an error.

    An endpoint that is not comparable counts as skipped where another one decides the exit code.
    An endpoint that NEW lacks failed, and under `strict` so did every missing or suspect cell.
    """
    suite = ET.Element("testsuite", name=one_line(f"{result.new} against {result.base}"))
    for endpoint in result.endpoints:
        case = _case(suite, f"{endpoint.model}.{endpoint.dataset}", endpoint.title)
        _judge(case, endpoint, result)
    for gap in result.doubts:
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
    if endpoint.verdict == "worse" or endpoint in result.lost:
        _part(case, "failure", text)
    elif endpoint.verdict == "not comparable":
        _part(case, "error" if result.exit_code == 2 else "skipped", text)
    else:
        ET.SubElement(case, "system-out").text = one_line(text)


def _case(suite: ET.Element, classname: str, name: str) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", classname=one_line(classname), name=one_line(name), time="0"
    )


def _part(case: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(case, tag, message=one_line(text)).text = one_line(text)
