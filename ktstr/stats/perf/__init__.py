"""What surrounds ``perf_delta``: its result as one value and its outputs, comparisons of two schedulers, and goals."""
