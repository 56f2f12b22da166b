"""What is used of ultralytics, imported with its side effects undone."""

from __future__ import annotations

import os
import tempfile

from PIL import Image as PillowImage

# settings of this process alone, no installs, no look-ups on the network
_SETTINGS = tempfile.TemporaryDirectory(prefix="yolo-")  # goes with the process
os.environ["YOLO_CONFIG_DIR"] = _SETTINGS.name
os.environ["YOLO_AUTOINSTALL"] = "False"
os.environ["YOLO_OFFLINE"] = "True"
os.environ["ULTRALYTICS_SAFE_LOAD"] = "True"  # of a stranger's weights: tensors and its own layers, no other code
_pillows_open = PillowImage.open

from ultralytics.nn.modules.block import DFL  # noqa: E402
from ultralytics.nn.tasks import SegmentationModel, load_checkpoint  # noqa: E402
from ultralytics.utils import DEFAULT_CFG  # noqa: E402
from ultralytics.utils.downloads import attempt_download_asset  # noqa: E402

PillowImage.open = _pillows_open  # in whose place the library puts its own: any broken file lacks a reader of HEIC

__all__ = ["DEFAULT_CFG", "DFL", "SegmentationModel", "attempt_download_asset", "load_checkpoint"]
