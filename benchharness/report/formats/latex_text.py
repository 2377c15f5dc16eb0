"""Text for LaTeX: whatever it contains, pdflatex sets it and runs none of it."""

from __future__ import annotations

import re
import unicodedata

from benchharness.outside.escaping import one_line

_SMALL = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi omicron pi rho sigma "
    "tau upsilon phi chi psi omega"
)
_CAPITAL = "Gamma Delta Theta Lamda Xi Pi Sigma Upsilon Phi Psi Omega"
_LETTERS = r"ß\ss æ\ae Æ\AE ø\o Ø\O ł\l Ł\L œ\oe Œ\OE å\aa Å\AA ı\i ȷ\j"


def _greek() -> dict[str, str]:
    commands = {"lamda": "lambda", "Lamda": "Lambda", "epsilon": "varepsilon"}
    found = {
        unicodedata.lookup(f"GREEK {case} LETTER {name}"): f"$\\{commands.get(name, name)}$"
        for case, names in (("SMALL", _SMALL), ("CAPITAL", _CAPITAL))
        for name in names.split()
    }
    return found | {"ο": "o"}


_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": "{`}",
    "–": "--",
    "—": "---",
    "‘": "{`}",
    "’": "'",
    "“": "``",
    "”": "''",
    "„": ",,",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\S{}",
    "\xa0": "~",
    "[": "{[}",
    "]": "{]}",
    **{pair[0]: f"{{{pair[1:]}}}" for pair in _LETTERS.split()},
    **_greek(),
    **{
        sign: f"${command}$"
        for sign, command in {
            "−": "-",
            "×": r"\times",
            "·": r"\cdot",
            "±": r"\pm",
            "÷": r"\div",
            "∞": r"\infty",
            "√": r"\surd",
            "∇": r"\nabla",
            "∂": r"\partial",
            "∑": r"\sum",
            "∈": r"\in",
            "≤": r"\leq",
            "≥": r"\geq",
            "≠": r"\neq",
            "≈": r"\approx",
            "→": r"\rightarrow",
            "←": r"\leftarrow",
            "°": r"^\circ",
            "µ": r"\mu",
            "ϵ": r"\epsilon",
            **{digit: f"^{place}" for place, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
            **{digit: f"_{place}" for place, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")},
            "½": r"\frac{1}{2}",
            "¼": r"\frac{1}{4}",
            "¾": r"\frac{3}{4}",
        }.items()
    },
}
"""Square brackets are braced, as LaTeX reads one after `\\\\` as an optional argument."""

_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
}
"""Combining accents that every encoding of fonts has."""

_MINUS = re.compile(r"(?<![\w.)\]-])-(?=\.?\d)")
_STEP = 8
"""A long word may break every so many signs."""


def escape(text: str) -> str:
    """The text as LaTeX; a sign that pdflatex has not is spelled, as U+4E2D."""
    return _escaped(one_line(text))


def breakable(text: str, longest: int = 24) -> str:
    """As `escape`, and words from `longest` signs on, such as paths, may break over lines."""
    return "".join(
        r"\allowbreak{}".join(_escaped(word[i : i + _STEP]) for i in range(0, len(word), _STEP))
        if len(word) >= longest
        else _escaped(word)
        for word in re.split(r"( +)", one_line(text))
    )


def _escaped(line: str) -> str:
    # A negative number has the sign of mathematics.
    line = _MINUS.sub("−", unicodedata.normalize("NFC", line))
    return "".join(map(_sign, line, f"{line[1:]} "))


def _sign(sign: str, following: str) -> str:
    if sign in "-–" and following in "-–—":
        return f"{_SIGNS.get(sign, sign)}{{}}"  # several in a row would become one long dash
    if sign in _SIGNS:
        return _SIGNS[sign]
    if sign.isascii():
        return sign
    letter, *accents = tuple(unicodedata.normalize("NFKD", sign))
    if letter.isascii() and letter.isalnum() and all(accent in _ACCENTS for accent in accents):
        found = {"i": r"\i", "j": r"\j"}.get(letter, letter) if accents else letter
        for accent in accents:
            found = f"\\{_ACCENTS[accent]}{{{found}}}"
        return found
    return rf"\texttt{{U+{ord(sign):04X}}}\allowbreak{{}}"
