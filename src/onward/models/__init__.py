"""Recommenders: one idea a file, all through the protocol of `base`."""
