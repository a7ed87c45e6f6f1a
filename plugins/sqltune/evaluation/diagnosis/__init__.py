"""What is wrong with an answer: its differences from the gold query, and the error class that follows."""
