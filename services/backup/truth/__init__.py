"""What is known of a run, what it is held against, and the verdict: green only if everything says so."""
