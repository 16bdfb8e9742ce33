"""The HTTP server: APIs of OpenAI, Anthropic and Ollama in front of a `Backend`."""
