"""Load on any OpenAI-compatible server: what it answers, how soon, and how much of it holds. See README.md."""
