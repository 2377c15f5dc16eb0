"""Text from outside is data: what each function of `escaping` lets through."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchharness.cli.console import SafeConsole, say
from benchharness.outside import escaping

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("over\rwritten", r"over\rwritten"),
        ("two\r\nlines\tand a tab\n", "two\nlines\tand a tab\n"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud83d", r"\ud83d"),
        ("naïve 中文 😀 L∞", "naïve 中文 😀 L∞"),
    ],
)
def test_control_characters_are_shown(text: str, expected: str) -> None:
    assert escaping.printable(text) == expected


@given(st.text(st.characters(), max_size=40))
def test_nothing_that_is_printed_controls_a_terminal_or_cannot_be_encoded(text: str) -> None:
    for shown in (escaping.printable(text), escaping.one_line(text), escaping.markdown(text)):
        assert not CONTROL.search(shown)
        shown.encode()
    assert "\n" not in escaping.one_line(text)
    assert escaping.printable(escaping.printable(text)) == escaping.printable(text)


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "  =1+1", "\n@x", "＝1+1", "−2"),
        *("=HYPERLINK(A1)", "=cmd|' /C calc'!A0", "-2"),
    ],
)
def test_a_spreadsheet_computes_nothing(text: str) -> None:
    shown = escaping.spreadsheet(text)
    assert isinstance(shown, str)
    assert shown.startswith("'")
    assert shown[1:] == " ".join(text.split())


@pytest.mark.parametrize("value", [-0.5, 3, None, True, "resnet3d_18", "8/255", "a=b", ""])
def test_numbers_and_plain_names_stay_as_they_are(value: object) -> None:
    assert escaping.spreadsheet(value) is value or escaping.spreadsheet(value) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>x</script>", "&lt;script>x&lt;/script>"),
        ("<!-- x -->", "&lt;!-- x -->"),
        ("[click](http://x)", r"[click\](http://x)"),
        ("![x](http://x/y.png)", r"![x\](http://x/y.png)"),
        ("[a][b]", r"[a\][b]"),
        ("*bold* _slanted_ ~~struck~~", r"\*bold\* \_slanted\_ \~\~struck\~\~"),
        ("`code` $math$", r"\`code\` \$math\$"),
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("&lt; & &#60;", "&amp;lt; & &amp;#60;"),
        ("line\n\n# heading", "line # heading"),
        ("medvit3d_t 0.842 [0.77, 0.90] †", "medvit3d_t 0.842 [0.77, 0.90] †"),
        ("AT&T, p < 0.05", "AT&T, p &lt; 0.05"),
    ],
)
def test_markdown_is_text(text: str, expected: str) -> None:
    assert escaping.markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# x", r"\# x"),
        ("> x", r"\> x"),
        ("- x", r"\- x"),
        ("1. x", r"1\. x"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("-0.5 is a number", "-0.5 is a number"),
        ("1.5 is a number", "1.5 is a number"),
        ("plain", "plain"),
    ],
)
def test_markdown_begins_no_block(text: str, expected: str) -> None:
    assert escaping.markdown_block(text) == expected


def test_a_console_sends_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream, width=80, force_terminal=True, color_system=None)
    console.print("before \x1b[2J after", markup=False)
    say("\x1b]0;title\x07 \ud800 [x]", to=console)
    shown = stream.getvalue()
    assert "\x1b" not in shown
    assert r"before \x1b[2J after" in shown
    assert r"\x1b]0;title\x07 \ud800 [x]" in shown


def test_colours_of_a_console_are_its_own() -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream, width=80, force_terminal=True, color_system="standard")
    console.print("red \x1b[32m", style="red", markup=False)
    assert stream.getvalue().startswith("\x1b[31m")
    assert "\x1b[32m" not in stream.getvalue()
