"""The pytest fixtures that users get."""
