"""Text from outside: names and messages that a model, a dataset or a user chose.

It is data in every format. Each writer passes it through `printable` and then escapes what its own
format gives a meaning to.
"""

from __future__ import annotations

import re
import unicodedata

REPLACEMENT = "\ufffd"
"""Takes the place of what must not be printed."""

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn")
"""Unicode's control and format characters, surrogates, and those without a meaning."""


def printable(text: str) -> str:
    """The text on one line, without characters that steer a terminal, a parser or a reader.

    White space becomes a single space. Control characters, marks that turn the direction of
    writing, lone surrogates and code points without a meaning become `REPLACEMENT`.
    """
    joined = " ".join(text.split())
    return "".join(
        REPLACEMENT if unicodedata.category(sign) in _HIDDEN else sign for sign in joined
    )


def markdown(text: str) -> str:
    """The text as GitHub's Markdown shows it literally, without links, mentions or HTML."""
    escaped = _MEANING.sub(r"\\\g<0>", printable(text))
    return _TRIGGER.sub(rf"\g<0>{_JOINER}", escaped)


def json(text: str) -> str:
    """JSON in which what could steer a terminal, and what UTF-8 cannot hold, is escaped."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_MEANING = re.compile(r"[!#$&*<>\[\\\]^_`{|}~]")
_TRIGGER = re.compile(r"@|#|:(?=//)|www(?=\.)", re.IGNORECASE)
"""What GitHub turns into mentions, references and links, escaped or not."""
_JOINER = "\u2060"
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
