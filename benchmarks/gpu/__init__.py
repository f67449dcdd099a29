"""What `benchmarks/gpu_programs.py` compiles, counts and reports."""
