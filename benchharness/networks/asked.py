"""What a user says about the outputs of a network: `--outputs` and `[model.NAME] outputs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from benchharness.errors import BenchError

Form = Literal["logits", "logit", "probabilities"]
Place = tuple[int | str, ...]
"""The way to a tensor: places in sequences, keys of mappings, names of attributes."""

FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user says about a network's outputs; None leaves it to be found."""

    take: Place | None = None
    form: Form | None = None

    @classmethod
    def parse(cls, typed: object, *, flag: str = "--outputs") -> Asked:
        """Read a form, a place, or `place:form`: `probabilities`, `0`, `heads.main`, `1:logit`.

        Raises:
            BenchError: When it is none of these.
        """
        text = str(typed).strip() if isinstance(typed, str) or type(typed) is int else ""
        place, colon, form = text.partition(":")
        if text in FORMS:
            place, form = "", text
        steps = place.split(".") if place else []
        known = form in FORMS or not (form or colon)
        if not text or not known or not all(steps):
            raise BenchError(
                f"{flag} takes what the network returns ({', '.join(FORMS)}) or where its logits "
                f"are (0, heads.main), or both (0:probabilities), got {typed!r}."
            )
        take = tuple(int(step) if step.isdecimal() else step for step in steps)
        return cls(take=take or None, form=form or None)  # type: ignore[arg-type]


NOTHING = Asked()
"""Nothing said."""


def written(place: Place) -> str:
    """A place as it is typed: `0`, `heads.main`."""
    return ".".join(map(str, place))
