"""Load the server's certificate, and find out before anybody connects whether it will do."""

from __future__ import annotations

import ssl
from pathlib import Path

from palimpsest_engine import PalimpsestError

_EXPIRED, _NOT_YET = 10, 9  # of OpenSSL's X509_V_ERR_…


def context_of(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return what TLS needs. Raises PalimpsestError with a sentence."""
    for file in (certificate, *((key,) if key else ())):
        try:
            file.open("rb").close()
        except OSError as error:
            raise PalimpsestError(f"{file} cannot be read: {error.strerror or error}.") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a password would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise PalimpsestError(f"{key} is not the key of the certificate {certificate}.") from None
        what = f"{certificate} and {key} are" if key else f"{certificate} is"
        raise PalimpsestError(f"{what} no certificate with its key in PEM, without a password.") from None
    _check_dates(context, certificate)
    return context


def _check_dates(context: ssl.SSLContext, certificate: Path) -> None:
    """Shake hands with ourselves in memory, and trust this one certificate: then its dates alone can be wrong."""
    first = _presented(context)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=first)
    try:
        _shake_hands(context, client)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            raise PalimpsestError(f"The certificate {certificate} has expired.") from None
        if error.verify_code == _NOT_YET:
            raise PalimpsestError(f"The certificate {certificate} is not valid yet.") from None


def _presented(context: ssl.SSLContext) -> bytes:
    """Return the certificate that a server shows."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    shown = _shake_hands(context, client).getpeercert(binary_form=True)
    assert shown
    return shown


def _shake_hands(context: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Return the client's end of a connection in memory."""
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(here, there), context.wrap_bio(there, here, server_side=True))
    waiting = True
    while waiting:
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
    return ends[0]
