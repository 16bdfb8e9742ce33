"""Memory of the compiled executor: buffers, packed weights, caches, and the steps that use them."""
