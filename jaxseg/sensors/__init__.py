"""Physics of the sensors as pure functions on channels-last arrays."""
