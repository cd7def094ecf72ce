"""What keeps a repository small and sound: delete, prune, compact, check."""
