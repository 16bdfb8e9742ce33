"""Steering: edits that are data, so that what they lead to can be kept, shared and told of."""
