"""What a key that sends twenty times its share costs the others: `python -m benchmarks.fairness`."""
