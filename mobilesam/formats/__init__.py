"""Writers and readers of what other tools use; one module a format family."""
