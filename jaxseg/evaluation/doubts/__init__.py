"""Which labels are probably wrong: `jaxseg doubts RUN`."""
