"""XML namespaces of CPIX, as lxml writes them before a name, and their usual prefixes."""

from __future__ import annotations

from typing import Final

PREFIXES: Final = {
    "cpix": "urn:dashif:org:cpix",
    "pskc": "urn:ietf:params:xml:ns:keyprov:pskc",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "enc": "http://www.w3.org/2001/04/xmlenc#",
}
CPIX, PSKC, DS, ENC = (f"{{{uri}}}" for uri in PREFIXES.values())
