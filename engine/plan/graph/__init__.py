"""The graph with which architectures build plans: one method per operation."""
