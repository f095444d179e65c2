"""Files on disk: rasters and polarimetric scenes, read window by window without conversion."""
