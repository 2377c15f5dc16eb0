"""How two sources are compared."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 0.02
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How two sources are compared."""

    tolerance: float = TOLERANCE
    """The difference in mean accuracy that does not matter, in [0, 1)."""
    alpha: float = ALPHA
    """Chance of any false verdict where the models are equally good, in (0, 1)."""
    strict: bool = False
    """Whether missing and suspect cells fail, too."""
    base_model: str | None = None
    """The one model of BASE; None compares models of one name."""
    new_model: str | None = None
    """The one model of NEW."""
    base_seed: int | None = None
    """The one training seed of BASE; None takes all."""
    new_seed: int | None = None
    """The one training seed of NEW."""
