"""Models whose engines run in processes of their own, which are started again when they die."""
