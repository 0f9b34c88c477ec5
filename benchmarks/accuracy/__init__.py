"""How right a served model is, through our task endpoints over HTTP, on questions with known answers."""
