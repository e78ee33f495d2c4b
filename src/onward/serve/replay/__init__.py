"""A log through a running server, against offline evaluation."""
