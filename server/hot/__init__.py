"""The hot path: OpenAI's own endpoints, checked and rewritten, then handed on byte by byte. `chat` is its spine."""
