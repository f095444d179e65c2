"""Pictures: tiles beside their maps, confusion matrices, curves."""
