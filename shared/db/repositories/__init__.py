"""What is asked of the tables more than once."""
