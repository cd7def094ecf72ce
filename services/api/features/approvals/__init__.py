"""Four eyes: what waits for a second person, who decides, and the settings."""
