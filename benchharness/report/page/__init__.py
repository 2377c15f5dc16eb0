"""The page's first screen: what was run, the verdict, the matrix, and the data that scripts read.

`opening` makes all of it. `names` are what people read; `matrix` lays cells out; `panel` says what
is known of one; `volumes` are those that perturbations broke; `summary` is the sentence and the
verdict; `payload` is the JSON of `window.bench`.
"""

from benchharness.report.page.opening import Opening, opening

__all__ = ["Opening", "opening"]
