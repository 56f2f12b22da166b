"""What every page is made with: templates that know no gaps, in one frame with its style, script, album and dialog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from monolayer.reporting.tables import FILTERS, TEMPLATES


def render(template: str, folder: Path = TEMPLATES, /, **values: Any) -> str:
    """A template of this folder, which may build on those here; a value that it lacks is an error."""
    loader = jinja2.FileSystemLoader([folder, TEMPLATES])
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    # a style or a script as it is: its braces are not ours
    environment.globals["text_of"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment.get_template(template).render(**values)
