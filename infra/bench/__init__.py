"""Benchmarks: this project and its peers in one run; `python -m infra.bench.NAME` prints a table and its verdict."""
