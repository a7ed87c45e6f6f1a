"""The checks of `preflight.py`, by subject. Standard library only."""
