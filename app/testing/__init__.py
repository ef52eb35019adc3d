"""What users need to test their own tasks: a local SQS server with faults on demand, a clock that is set by hand."""
