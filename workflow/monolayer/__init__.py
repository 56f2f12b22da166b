"""monolayer: from images of a cell culture to segmentation models, tables, engines and a report.

In Python: `monolayer.load().segment(image)`, see monolayer.api. The rest is the command line's.
"""

import os

TYPE_CHECKING = False  # typing would be a twentieth of the time that `monolayer --help` takes
if TYPE_CHECKING:
    from monolayer.api import Cells, Model, load
    from monolayer.files import InputError

__all__ = ["Cells", "InputError", "Model", "load"]

# Before the first import of onnxruntime, which else reports the machine and its models to its maker over the network
# and keeps an identifier in $HOME. Who wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    """The public names, imported when they are asked for: `import monolayer` alone loads no library."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from monolayer import api

    return getattr(api, name)
