"""The next version of a model: trained on with new events, let through by a gate, written with where it comes from."""
