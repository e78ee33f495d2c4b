"""The live page of the server: templates and scripts without a build step or a network."""
