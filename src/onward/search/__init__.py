"""The search for the best model of a dataset within a budget of time (`onward auto`, `onward tune`)."""
