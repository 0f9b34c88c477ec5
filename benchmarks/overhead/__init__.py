"""What a gateway adds: ours, nginx, vllm-router and LiteLLM before the same mock engine, no GPU needed."""
