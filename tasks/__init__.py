"""The tasks: one file per subject, each with the service it calls."""
