"""What several architectures have in common."""
