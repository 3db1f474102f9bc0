"""The windows of the viewers (Tk)."""
