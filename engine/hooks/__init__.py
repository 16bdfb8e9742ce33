"""Names of activations, and reading and replacing them."""
