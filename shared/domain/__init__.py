"""Pure rules without I/O: states, names, ids, archives."""
