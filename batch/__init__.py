"""Files of requests, as the OpenAI API has batches, answered by a model in this process."""
