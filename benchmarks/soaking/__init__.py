"""Parts of the soak benchmark (`benchmarks.soak`)."""
