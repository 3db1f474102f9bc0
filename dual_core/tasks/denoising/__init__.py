"""What denoising a tomogram is made of."""
