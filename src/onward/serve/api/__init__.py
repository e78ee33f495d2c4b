"""HTTP: routes, bodies, keys, limits, problems, metrics."""
