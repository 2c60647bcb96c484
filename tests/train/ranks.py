"""One training on as many processes as the settings say; Lightning starts the others by running this file again."""

import json
import sys

import holdfast

if __name__ == "__main__":
    result = holdfast.fit(**json.loads(sys.argv[1]))
    print(json.dumps(result.figures))
