"""A small shop, with one fault a module. DATABASE_URL names its database."""
