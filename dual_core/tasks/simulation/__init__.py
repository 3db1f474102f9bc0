"""What simulating a tomogram is made of."""
