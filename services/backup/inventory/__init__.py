"""What must be in a repository against what is there, and the way back after a loss."""
