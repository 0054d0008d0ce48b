"""optimize-queries: what the application's queries cost, who issues them, and what cures them."""
