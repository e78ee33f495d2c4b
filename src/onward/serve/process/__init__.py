"""Server processes: start, workers, connections, drain."""
