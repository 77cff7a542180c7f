"""The network of all runs, with batches and initial weights."""
