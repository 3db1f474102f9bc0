"""The page itself: markup, style, the parts that it is made of."""
