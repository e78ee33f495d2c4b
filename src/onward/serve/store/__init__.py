"""The event store: events, impressions, items, models and keys, in SQLite or PostgreSQL."""
