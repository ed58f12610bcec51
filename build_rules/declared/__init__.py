"""What people declare in TOML: models, where they lie, and what they share."""
