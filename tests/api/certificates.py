"""Certificates for tests, good and bad, made by the `openssl` command."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
x509_extensions = names
unique_subject = no
[any]
commonName = supplied
[names]
subjectAltName = DNS:localhost, IP:127.0.0.1
basicConstraints = critical, CA:true
[req]
distinguished_name = subject
[subject]
"""
_DATES = {"good": ("20200101", "20991231"), "expired": ("20200101", "20210101"), "later": ("20980101", "20991231")}


@dataclass(frozen=True)
class Issued:
    """A folder of certificates and keys: good, expired, later, other (a key), locked (a key with a password), text."""

    folder: Path

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def issue(folder: Path) -> Issued:
    """Make them all. Skips the test where there is no `openssl`."""
    if shutil.which("openssl") is None:
        pytest.skip("because there is no openssl on the PATH")

    def openssl(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=folder)

    issued = Issued(folder)
    config = folder / "openssl.cnf"
    config.write_text(_CONFIG.format(folder=folder))
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01")
    for name, (begins, ends) in _DATES.items():
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", issued.key(name))
        openssl("req", "-config", config, "-new", *key, "-subj", "/CN=localhost", "-out", f"{name}.csr")
        dates = ("-startdate", f"{begins}000000Z", "-enddate", f"{ends}000000Z")
        made = ("-in", f"{name}.csr", "-keyfile", issued.key(name), "-out", issued.certificate(name))
        openssl("ca", "-config", config, "-selfsign", "-batch", "-notext", *dates, *made)
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", issued.key("other"))
    openssl("pkey", "-in", issued.key("good"), "-aes256", "-passout", "pass:secret", "-out", issued.key("locked"))
    issued.certificate("text").write_text("This is no certificate.\n")
    return issued
