"""Whether a picture's questions go to the engine that has it in its caches."""
