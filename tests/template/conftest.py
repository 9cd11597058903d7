"""Lets the modules beside the tests be imported by their names."""

import os

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")
