"""The setup service: makes a bare server ready to be backed up."""
