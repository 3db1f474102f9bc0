"""The demo: everything from grand models to scores on small synthetic cells."""
