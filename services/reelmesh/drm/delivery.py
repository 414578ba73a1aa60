"""Keys in CPIX documents, encrypted for one recipient: under a fresh key of the document, which only it can read.

The algorithms are those that CPIX 2.3 prescribes: AES-256 in CBC mode with PKCS #7 padding and the initialization
vector in front, HMAC-SHA-512 over both, RSA-OAEP with SHA-1 for the two keys of the document.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives import padding as block_padding
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from reelmesh.drm.errors import CpixMalformed
from reelmesh.drm.namespaces import CPIX, DS, ENC, PSKC

LEAST_BITS = 2048
"""Of a recipient's RSA key."""
AES = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
RSA = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
MAC = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"
_CERTIFICATE = f"{CPIX}DeliveryKey/{DS}X509Data/{DS}X509Certificate"


class Recipient:
    """Whoever is to read the keys of one document."""

    def __init__(self, certificate: x509.Certificate, random: Callable[[int], bytes] = os.urandom) -> None:
        """Raises CpixMalformed for a certificate that nothing can be encrypted for."""
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_BITS:
            raise CpixMalformed(f"the recipient's certificate has no RSA key of {LEAST_BITS} bits or more")
        self._certificate = certificate
        self._public = key
        self._random = random
        self._document_key = random(32)
        self._mac_key = random(64)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read a certificate. Raises CpixMalformed."""
        try:
            return cls(x509.load_pem_x509_certificate(pem))
        except ValueError as error:
            raise CpixMalformed("the recipient is no certificate in PEM") from error

    @classmethod
    def of(cls, root: etree._Element) -> Self | None:
        """Return the recipient that a document names, and take its announcement out. Raises CpixMalformed."""
        listed = root.find(f"{CPIX}DeliveryDataList")
        if listed is None:
            return None
        found = list(listed.iterfind(f"{CPIX}DeliveryData/{_CERTIFICATE}"))
        if len(found) != 1:
            raise CpixMalformed("a DeliveryDataList names one certificate")
        try:
            certificate = x509.load_der_x509_certificate(base64.b64decode(found[0].text or ""))
        except ValueError as error:
            raise CpixMalformed("X509Certificate is no certificate in base64") from error
        root.remove(listed)
        return cls(certificate)

    def announce(self, root: etree._Element) -> None:
        """Write the document's keys, which only the recipient can read, in front of a document."""
        listed = etree.Element(f"{CPIX}DeliveryDataList")
        root.insert(0, listed)
        data = etree.SubElement(listed, f"{CPIX}DeliveryData")
        x509_data = etree.SubElement(etree.SubElement(data, f"{CPIX}DeliveryKey"), f"{DS}X509Data")
        certificate = self._certificate.public_bytes(Encoding.DER)
        etree.SubElement(x509_data, f"{DS}X509Certificate").text = base64.b64encode(certificate).decode()
        document = etree.SubElement(data, f"{CPIX}DocumentKey", Algorithm=AES)
        secret = etree.SubElement(etree.SubElement(document, f"{CPIX}Data"), f"{PSKC}Secret")
        _encrypted(etree.SubElement(secret, f"{PSKC}EncryptedValue"), RSA, self._for_recipient(self._document_key))
        method = etree.SubElement(data, f"{CPIX}MACMethod", Algorithm=MAC)
        _encrypted(etree.SubElement(method, f"{CPIX}Key"), RSA, self._for_recipient(self._mac_key))

    def seal(self, secret: etree._Element, value: bytes) -> None:
        """Write a key into its pskc:Secret."""
        iv = self._random(16)
        padder = block_padding.PKCS7(128).padder()
        encryptor = Cipher(algorithms.AES(self._document_key), modes.CBC(iv)).encryptor()
        sealed = iv + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()
        _encrypted(etree.SubElement(secret, f"{PSKC}EncryptedValue"), AES, sealed)
        mac = hmac.HMAC(self._mac_key, hashes.SHA512())
        mac.update(sealed)
        etree.SubElement(secret, f"{PSKC}ValueMAC").text = base64.b64encode(mac.finalize()).decode()

    def _for_recipient(self, value: bytes) -> bytes:
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - CPIX prescribes it
        return self._public.encrypt(value, oaep)


def _encrypted(element: etree._Element, algorithm: str, value: bytes) -> None:
    etree.SubElement(element, f"{ENC}EncryptionMethod", Algorithm=algorithm)
    data = etree.SubElement(element, f"{ENC}CipherData")
    etree.SubElement(data, f"{ENC}CipherValue").text = base64.b64encode(value).decode()
