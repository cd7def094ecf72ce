"""The services; they never import one another and meet in `shared.events` and in the schema."""
