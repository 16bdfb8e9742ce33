"""The page at `/`: HTML, CSS and JavaScript as they stand here, and what serves them."""
