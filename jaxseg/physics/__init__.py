"""The physics of sensors: pure jnp functions on (..., C) arrays, bands last, safe in float32."""
