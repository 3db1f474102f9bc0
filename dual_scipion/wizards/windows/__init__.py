"""The windows of the wizards (Tk)."""
