"""How two sources are compared."""

from __future__ import annotations

from dataclasses import dataclass

from benchharness.comparison.contributions import METRICS
from benchharness.errors import BenchError, unknown_name

TOLERANCE = 0.02
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How two sources are compared."""

    tolerance: float = TOLERANCE
    """The difference in a mean that does not matter, in [0, 1)."""
    alpha: float = ALPHA
    """Chance of any false verdict where the models are equally good, in (0, 1)."""
    metrics: tuple[str, ...] = ("accuracy",)
    """What endpoints are judged by, each of `contributions.METRICS`."""
    strict: bool = False
    """Whether missing and suspect cells fail, too."""
    allow_missing: bool = False
    """Whether NEW may lack whole families of BASE."""
    base_model: str | None = None
    """The one model of BASE; None compares models of one name."""
    new_model: str | None = None
    """The one model of NEW."""
    base_recipe: str | None = None
    """The one recipe of BASE; None takes all."""
    new_recipe: str | None = None
    """The one recipe of NEW."""
    base_seed: int | None = None
    """The one training seed of BASE; None takes all."""
    new_seed: int | None = None
    """The one training seed of NEW."""

    @property
    def within_one(self) -> bool:
        """Whether the two sides differ where both are one source."""
        return (self.base_model, self.base_recipe, self.base_seed) != (
            self.new_model,
            self.new_recipe,
            self.new_seed,
        )

    def called(self, base: str, new: str) -> tuple[str, str]:
        """What BASE and NEW are called: by their recipes, too, where one store is both.

        Args:
            base: Folder or file of BASE.
            new: That of NEW.
        """
        if base != new or self.base_recipe == self.new_recipe:
            return base, new
        recipes = (self.base_recipe, self.new_recipe)
        first, second = (f"{base} ({name})" if name else base for name in recipes)
        return first, second

    def check(self) -> None:
        """Refuse metrics that no endpoint can be judged by.

        Raises:
            BenchError: When a metric is unknown, or there is none.
        """
        if not self.metrics:
            raise BenchError(f"a comparison needs a metric, got none. Try {', '.join(METRICS)}.")
        for name in self.metrics:
            if name not in METRICS:
                raise unknown_name("metric", name, METRICS)
