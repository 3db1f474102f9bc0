"""One self-contained HTML page that tells what came out of a training run, and how good it is."""
