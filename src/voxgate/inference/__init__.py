"""Model calls: which runs next (scheduler), and where (engine)."""
