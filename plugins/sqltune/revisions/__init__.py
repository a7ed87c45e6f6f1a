"""The commits of the watched dataset: read from the hub, and which of them is trained next."""
