"""Layers with a recurrent state: convolutions, state space models, linear attention."""
