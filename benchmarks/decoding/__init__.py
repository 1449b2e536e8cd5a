"""Parts of the decode benchmark (`benchmarks.decode`)."""
