"""The audit log: what is recorded of a request, how rows are sealed, how anybody can verify them."""
