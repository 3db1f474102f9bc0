"""What every room uses against faults: foreign files, numbers at the edge, dead and second runs."""
