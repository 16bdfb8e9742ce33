"""Chat templates: conversations -> texts as the model was trained to see them."""
