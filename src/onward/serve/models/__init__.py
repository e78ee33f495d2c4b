"""The models of a server, and switching between them."""
