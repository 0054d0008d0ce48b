"""Stands for an interpreter: writes down what it was asked to run, for `warm.door`."""

import json
import os
import sys

with open(os.environ["HANDED_OVER"], "w") as file:  # noqa: PTH123  (started without pathlib)
    json.dump(
        {
            "arguments": sys.argv[1:],
            "cwd": os.getcwd(),  # noqa: PTH109
            "environment": dict(os.environ),
        },
        file,
    )
