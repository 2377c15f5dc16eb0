"""`python -m benchharness` is `bench`."""

from __future__ import annotations

from benchharness.cli import main

if __name__ == "__main__":
    main()
