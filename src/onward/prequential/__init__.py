"""Evaluation as in production: predict a period, learn from it, go on to the next; what each way to refit costs."""
