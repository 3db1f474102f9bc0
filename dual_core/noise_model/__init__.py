"""The linear model of a tomogram, `t = H v + n`: measured, simulated from; noise as a field."""
