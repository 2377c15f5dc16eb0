"""Maskings by kind, and the honest networks."""
