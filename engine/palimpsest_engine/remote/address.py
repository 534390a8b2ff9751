"""Read where an endpoint is, and its key. Nothing is looked up or opened but the file of the key."""

from __future__ import annotations

import ipaddress
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import httpx

from palimpsest_engine.engine import Endpoint, EndpointProtocol
from palimpsest_engine.errors import EndpointError

_LONGEST_KEY = 4096
# Ends of a URL that are paths of an API, and what they say of it: people paste what they find in a server's manual.
_TAILS: tuple[tuple[str, EndpointProtocol], ...] = (
    ("/v1/fill", "palimpsest"),
    ("/v1/completions", "openai"),
    ("/v1", "openai"),
    ("/api/generate", "ollama"),
    ("/api", "ollama"),
    ("/infill", "llama.cpp"),
    ("/completion", "llama.cpp"),
)


@dataclass(frozen=True, slots=True)
class Address:
    """A place that code is sent to. base: a URL without a slash at its end. hint: the protocol that the path spoke of."""

    base: str
    host: str
    port: int
    tls: bool
    hint: EndpointProtocol

    @property
    def place(self) -> str:
        """Return the address as people are told it."""
        return self.base.partition("://")[2]

    @property
    def loopback(self) -> bool:
        """Return whether nothing that is sent there leaves this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def warning(self) -> str:
        """Return a sentence about where code goes, if it leaves this machine; else ""."""
        if self.loopback:
            return ""
        return f"Code is sent to {self.host}{'' if self.tls else ', unencrypted'}."


def address_of(endpoint: Endpoint) -> Address:
    """Return the place of an endpoint. Raises EndpointError with a sentence if its URL is none that can be used."""
    try:
        url = httpx.URL(endpoint.url.strip())
    except (httpx.InvalidURL, ValueError):
        raise EndpointError("The setting endpoint is not a URL.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise EndpointError("The setting endpoint has to begin with http:// or https:// and name a host.")
    if url.userinfo:
        raise EndpointError("The setting endpoint has a name or password in its URL: use keyEnv or keyFile for a key.")
    if url.query or url.fragment:
        raise EndpointError("The setting endpoint has a ? or # in its URL: leave it out.")
    path, hint = url.path.rstrip("/"), endpoint.protocol
    for tail, protocol in _TAILS:
        if path.endswith(tail):
            path, hint = path[: -len(tail)], protocol if hint == "auto" else hint
            break
    tls = url.scheme == "https"
    base = f"{url.scheme}://{url.netloc.decode('ascii')}{path}"
    return Address(base, url.host.rstrip("."), url.port or (443 if tls else 80), tls, hint)


def key_of(endpoint: Endpoint) -> str:
    """Return the key of an endpoint, or "" for one without. Raises EndpointError with a sentence, which never has the key."""
    if endpoint.key_env:
        key, source = os.environ.get(endpoint.key_env, ""), f"the environment variable {endpoint.key_env}"
    elif endpoint.key_file:
        key, source = _read(Path(endpoint.key_file).expanduser()), f"the file {endpoint.key_file}"
    else:
        return ""
    key = key.strip()
    if not key:
        raise EndpointError(f"The endpoint's key is missing: {source} is empty or not set.")
    if len(key) > _LONGEST_KEY or not all("!" <= each <= "~" for each in key):
        raise EndpointError(f"The endpoint's key in {source} is not one word of ASCII characters.")
    return key


def _read(path: Path) -> str:
    """Read a file that only its owner may read."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise EndpointError(f"The endpoint's key is not in a file: {path} is something else.")
            if os.name == "posix" and found.st_mode & 0o077:
                raise EndpointError(f"The endpoint's key can be read by others: run `chmod 600 {path}`.")
            return file.read(_LONGEST_KEY + 2).decode("ascii", "replace")
    except OSError as error:
        raise EndpointError(f"The endpoint's key cannot be read: {path}: {error.strerror}.") from None
