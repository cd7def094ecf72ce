"""What goes in and comes out of the REST API."""
