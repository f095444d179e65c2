"""What networks are made of: layers, resampling, attention, heads, backbones."""
