"""The models that can be served: found, loaded when they are asked for, and unloaded to make room."""
