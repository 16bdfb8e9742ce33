"""What this machine can compute and read: the roofs of the roofline model."""
