"""A small shop: a FastAPI project that has no database yet."""
