"""How architectures write plans: one method for each operation."""
