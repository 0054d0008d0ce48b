"""Set a project up: plan (pure), show the difference, apply it, prove it."""
