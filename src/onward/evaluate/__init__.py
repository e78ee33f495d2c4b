"""Honest evaluation: exact ranks, metrics, protocols, comparison, reports."""
