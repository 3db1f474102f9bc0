"""The six networks, the model file with its card, and the device that they run on."""
