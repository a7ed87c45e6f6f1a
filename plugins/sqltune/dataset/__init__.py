"""The dataset: its hub, its rows, and the split into training and held-out questions."""
