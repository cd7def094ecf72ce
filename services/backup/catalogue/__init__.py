"""What is inside the archives of this node's repositories: directories, and soon search and versions."""
