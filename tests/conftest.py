"""Makes the helper modules beside the tests (forge, tiny_model …) importable by their plain names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
