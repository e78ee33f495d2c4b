"""Drift: whether what is asked for, or how well it is answered, has changed, so that a model is to be trained again."""
