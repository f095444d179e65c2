"""What lies on disks: rasters and polarimetric scenes, read by windows where they are."""
