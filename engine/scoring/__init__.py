"""How probable given continuations are."""
