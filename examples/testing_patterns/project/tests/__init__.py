"""The tests are a package, so that they can import their factories and helpers."""
