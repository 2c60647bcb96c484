"""One training on as many processes as the settings say; Lightning starts the others by running this file again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import holdfast

RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")


def on_two(settings):
    """What two processes that share each batch say of their result, in the order in which they end."""
    settings = {**settings, "devices": 2, "accelerator": "cpu", "strategy": "ddp"}
    text = json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in settings.items()})
    environment = {k: v for k, v in os.environ.items() if k not in RANKS}
    ended = subprocess.run(
        [sys.executable, __file__, text], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


if __name__ == "__main__":
    result = holdfast.fit(**json.loads(sys.argv[1]))
    print(json.dumps(result.figures))
