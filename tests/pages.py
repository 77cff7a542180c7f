"""What a page of `report` holds, out of its compressed part."""

import base64
import gzip
import json
import re
from pathlib import Path


def content_of(path):
    """Return what the page embeds; arrays stay as they were encoded."""
    page = Path(path).read_text("utf-8")
    packed = re.search(r'<script id="content" type="text/plain">(.*?)</script>', page)
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))
