"""Settings common to all tests: no model hub, and few threads on a machine that runs other work too."""

import os

from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Times are measured in benchmarks; a first call may load or compile code.
settings.register_profile("lethe", deadline=None)
settings.load_profile("lethe")
