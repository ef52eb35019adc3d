"""Policies that know neither Celery nor SQS: time and facts in, decision out."""
