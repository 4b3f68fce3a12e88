"""HTTPS: the app's certificate and key, proved by a handshake before anything listens, and how its own client trusts.

`ssl` is imported late: it takes 10 ms, which a command line without HTTPS need not spend.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from modelapp.app import App
from modelapp.errors import SurroundingsError

if TYPE_CHECKING:
    import ssl

_VERIFY_CODES = {9: "is not valid yet", 10: "has expired"}
"""OpenSSL's numbers for what is wrong with a certificate (X509_V_ERR), as far as it is the file's fault."""


def files(app: App) -> tuple[Path, Path] | None:
    """Certificate and key of the app's server, which stand beside app.toml; None where it speaks plain HTTP."""
    server = app.server
    return (app.root / server.tls_cert, app.root / server.tls_key) if server.tls_cert else None


def certificate(app: App) -> Path | None:
    """The certificate of the app's server, for a client of this machine; None without HTTPS."""
    found = files(app)
    return found[0] if found else None


def trusting(certificate: Path) -> "ssl.SSLContext":
    """What a client needs to talk to the server that holds this very certificate, whatever name that was made out to.

    Raises SurroundingsError where the file is no certificate.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # localhost, mostly; only this certificate is trusted
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        raise _refused("tls_cert", certificate, _reason(error), "a PEM file with the certificate") from None
    return context


def check(app: App) -> None:
    """Make sure that the files work together, now. Raises SurroundingsError, which names key and file."""
    found = files(app)
    if found is None:
        return
    import ssl

    certificate, private_key = found
    client = trusting(certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for key, path in (("tls_cert", certificate), ("tls_key", private_key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise _refused(key, path, error.strerror or str(error), "a PEM file beside app.toml") from None
    try:
        server.load_cert_chain(certificate, private_key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        why = "does not belong to the certificate" if "MISMATCH" in str(error) else f"cannot be read: {_reason(error)}"
        instead = f"the key, without a password, that {certificate.name} was made for"
        raise _refused("tls_key", private_key, why, instead) from None
    try:
        _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        why = _VERIFY_CODES.get(error.verify_code, f"is not good: {error.verify_message}")
        raise _refused("tls_cert", certificate, why, "a certificate that is valid today") from None
    except ssl.SSLError as error:
        raise _refused("tls_cert", certificate, f"is not good: {_reason(error)}", "another certificate") from None


def _shake_hands(server: "ssl.SSLContext", client: "ssl.SSLContext") -> None:
    """One connection without a network."""
    import ssl

    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    while ends:
        for end in tuple(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue


def _refused(key: str, path: Path, why: str, instead: str) -> SurroundingsError:
    return SurroundingsError(f"[server] {key}: {path} {why}", help=f"give {instead}")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error).replace("_", " ").lower()
