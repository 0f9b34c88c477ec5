"""What fits which card, before anyone buys it: weights, KV cache, vision tower, graphs; and the flags to start with.

Pure arithmetic over tables (`cards/`, `tiers.toml`): no GPU, no network, no web framework. A leaf, so that the launch
profiles, the HTTP routes and the command line all ask the same function.
"""
