"""What this machine can compute and stream: the roofs of the roofline model."""
