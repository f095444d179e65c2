"""What people look at: tiles beside their maps, confusion matrices, curves."""
