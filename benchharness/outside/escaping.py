"""Text from outside, made safe for where it is shown.

Names, paths and error messages come from stores, archives and plug-ins that somebody else wrote.
Each function here makes such text plain text in one format; LaTeX has its own in
`benchharness.report.formats.latex_text`.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, lone surrogates, marks that turn the direction of text, and invisible ones.

Line feed and tab are not among them.
"""

_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20\u2212")
"""What a spreadsheet takes for the beginning of a formula, full-width signs included."""

_INLINE = re.compile(
    r"[\\`*~$|]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore inside a word is no emphasis
    r"|\](?=[(\[:])"  # a bracket that would make a link
    r"|&(?=#?\w+;)|<"
)
_BLOCK = re.compile(r"(?=#|>|[-+](?:\s|$)|(?:[-=] ?)+$)|\d+(?=[.)](?:\s|$))")
"""What begins a heading, a quotation, a list or an underline; its end is where a \\ goes."""
_MEANING = re.compile(r"[!#$&*<>\[\\\]^_`{|}~]")
"""Everything that Markdown, HTML or a formula may give a meaning to."""
_TRIGGER = re.compile(r"@|#|:(?=//)|www(?=\.)", re.IGNORECASE)
"""What GitHub turns into mentions, references and links, escaped or not."""
_JOINER = "\u2060"
"""An invisible sign that joins words: it breaks a mention or a link and nothing else."""
_UNSAFE_JSON = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ENTITIES = {"&": "&amp;", "<": "&lt;"}


def printable(text: str) -> str:
    r"""Show control characters instead of sending them to a terminal or a file.

    An escape sequence of a terminal becomes `\x1b[31m` in letters, a lone surrogate `\ud800`. Line
    feeds and tabs stay.
    """
    return _HIDDEN.sub(
        lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n")
    )


def one_line(text: str) -> str:
    """The text as `printable`, with every run of white space as one space."""
    return " ".join(printable(text.replace("\r", "\n")).split())


def spreadsheet(value: object) -> object:
    """A field of a CSV file: text that a spreadsheet would compute begins with an apostrophe.

    Numbers stay numbers. After OWASP's advice on CSV injection.
    """
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def from_spreadsheet(text: str) -> str:
    """The text that `spreadsheet` wrote, without the apostrophe that it may have put before it."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def markdown(text: str) -> str:
    """Text inside a heading, a table or a sentence of Markdown: no markup, no HTML."""
    return _INLINE.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), one_line(text))


def markdown_block(text: str) -> str:
    """As `markdown`, for text that begins a paragraph or a list item."""
    escaped = markdown(text)
    opening = _BLOCK.match(escaped)
    if opening is None:
        return escaped
    return f"{escaped[: opening.end()]}\\{escaped[opening.end() :]}"


def github(text: str) -> str:
    """Text of a comment on GitHub: as `markdown`, and no mention, reference or link either."""
    escaped = _MEANING.sub(r"\\\g<0>", one_line(text))
    return _TRIGGER.sub(rf"\g<0>{_JOINER}", escaped)


def json(text: str) -> str:
    """JSON in which what could steer a terminal, and what UTF-8 cannot hold, is escaped."""
    return _UNSAFE_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
