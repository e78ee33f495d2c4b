"""From histories to lists: the engine, its rules, and what it asks the model."""
