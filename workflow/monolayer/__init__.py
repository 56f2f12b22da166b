"""monolayer: from images of a cell culture to segmentation models, tables, engines and a report."""

import os

# Before the first import of onnxruntime, which else reports the machine and its models to its maker over the network
# and keeps an identifier in $HOME. Who wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
