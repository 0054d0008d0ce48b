"""From changed models to a migration that is proved before a person reads it."""
