"""Benchmarks of kdns against other DNS servers; `bench/README.md` says which script answers what."""
