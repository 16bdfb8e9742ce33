"""Work that requests ask for: it is let in, begun by a model, and told of as it comes."""
