"""What is in a cell beside molecules: membranes, filaments, gold."""
