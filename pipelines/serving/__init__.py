"""A trained model in use: found by its name, loaded, and served over HTTP."""
