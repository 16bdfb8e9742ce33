"""Which sequences an executor holds, where, and what runs next."""
