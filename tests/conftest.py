"""Settings common to all tests: no model hub, and few threads on a machine that runs other work too."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
