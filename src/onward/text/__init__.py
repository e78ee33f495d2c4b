"""Text of items and events as vectors: encoders by name, a cache, mood. Nothing here opens a connection."""
