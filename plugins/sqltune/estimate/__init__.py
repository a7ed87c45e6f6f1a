"""What a training will take, before it runs: steps, memory, hours, price, and a better strategy."""
