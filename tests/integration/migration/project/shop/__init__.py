"""A project that runs stock Celery on SQS, and moves to Sluice."""
