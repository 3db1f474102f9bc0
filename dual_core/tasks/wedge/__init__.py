"""What filling the missing wedge is made of."""
