"""One request of a task, from what it shows the model to its result: asked part by part, told as it comes."""
