"""The server: a bundle, an event store and an engine behind HTTP."""
