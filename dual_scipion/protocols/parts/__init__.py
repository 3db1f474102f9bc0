"""What the protocols share: running the engine, output sets, jobs, records."""
