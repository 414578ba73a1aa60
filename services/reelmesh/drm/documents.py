"""XML from outside: read without entities, without the network, without depth."""

from __future__ import annotations

from lxml import etree


def parse(body: bytes) -> etree._Element:
    """Return the root of a document. Raises ValueError for what is no XML, or has a document type."""
    # A parser of its own for each: they are not made for several threads.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"no XML: {error.msg}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValueError("a document type has no place here")
    return root
