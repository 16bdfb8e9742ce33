"""What requests may hold: every field, its type and its limits."""
