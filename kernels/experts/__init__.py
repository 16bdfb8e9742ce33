"""Mixtures of experts: routing, grouping, and the products of expert matrices."""
