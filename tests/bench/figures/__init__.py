"""One benchmark a file; its name is the benchmark's name, its first line the question. They are found, not listed."""
