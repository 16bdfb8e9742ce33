"""The names of activations; reading and replacing them."""
