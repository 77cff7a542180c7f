"""Intervals and p-values of a mean or median of values that are spatially autocorrelated.

Plain arrays. Places are prepared once, and every row of values at these places shares what was
prepared. The method goes without a choice of scale: values are projected on smooth contrasts over
the places, whose covariance under a grid of exponential models tells by how much the mean varies.

Constants: 30 contrasts of an exponential covariance whose average correlation between two cells is
0.03; 14 average correlations between 0.002 and 0.35, geometrically spaced, with nugget shares of 0,
0.5 and 0.8, and pure noise: 43 models of equal prior probability.
"""
