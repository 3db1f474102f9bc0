"""What a tomogram is like apart from padding, gold and hot voxels; see `describe.describe`."""
