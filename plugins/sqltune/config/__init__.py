"""Configuration: run spec (the trigger form), recipe, cluster, gate rules, and the pinned run plan."""
