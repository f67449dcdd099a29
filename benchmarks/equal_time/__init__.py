"""What `benchmarks/accuracy.py` trains, how long, and how it compares the results."""
