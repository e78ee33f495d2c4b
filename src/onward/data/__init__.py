"""Event tables in, prepared data sets, splits and batches out."""
