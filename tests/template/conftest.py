"""Makes the modules of this folder importable by the tests."""

import os

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")
