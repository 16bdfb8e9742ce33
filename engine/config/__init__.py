"""The hyperparameters of a model, read from the metadata of its file."""
