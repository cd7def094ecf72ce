"""What every request passes: limits, errors, pages."""
