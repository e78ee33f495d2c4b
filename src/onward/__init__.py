"""Onward: from an event log to a live recommender. Names are loaded when first used."""

__version__ = "0.1.0"
