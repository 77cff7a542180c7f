"""The formulas and statistics on plain arrays: NumPy and SciPy only."""
