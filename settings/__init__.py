"""Settings: the environment in, validated values out. Nothing else reads the environment."""
