"""The key pair that signs the ledger: the private half stays in a file, the public half goes to auditors."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from guard.errors import InputError

if TYPE_CHECKING:
    from serving.settings import Settings

KEY_FILE = "ledger.key"
SEAL = b"lethe seal of a target"  # keeps the seal's key apart from any other use of the private key

Keys = dict[str, Ed25519PublicKey]
"""Public keys by their id."""


class Signer:
    """Signs and seals with one Ed25519 key.

    Attributes:
        id: fingerprint of the public key, 16 hex digits.
        public: the public key.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key()
        self.id = fingerprint(self.public)
        self._sealing = HKDF(SHA256(), 32, salt=None, info=SEAL).derive(key.private_bytes_raw())

    @classmethod
    def of(cls, settings: Settings) -> Signer:
        """The key that the settings name, which must exist; without a name the one in home, made once.

        Raises:
            InputError: as `load`.
        """
        if settings.ledger_key is not None:
            return cls.load(settings.ledger_key, make=False)
        return cls.load(settings.home / KEY_FILE)

    @classmethod
    def load(cls, path: Path, make: bool = True) -> Signer:
        """The key in a PEM file; ``make`` creates it when missing, readable by the owner only.

        The public half is put beside it, so that auditors can be given a file.

        Raises:
            InputError: the file is missing, unreadable, not writable or no Ed25519 private key.
        """
        if make and not path.exists():
            _make(path)
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            raise InputError(
                f"ledger key {path} does not exist; put an Ed25519 key in PEM there or unset LETHE_LEDGER_KEY"
            ) from None
        except OSError as error:
            raise InputError(f"ledger key {path} cannot be read ({error.strerror})") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError(
                f"ledger key {path} is no unencrypted Ed25519 private key in PEM (PKCS #8); restore it from "
                "a backup, or move it away to start with a new key"
            )
        signer = cls(key)
        _publish(signer, path.with_name(path.name + ".pub"))
        return signer

    def sign(self, digest: str) -> str:
        """The signature of a hash, as 128 hex digits."""
        return self._key.sign(digest.encode()).hex()

    def seal(self, text: str) -> str:
        """A commitment to a text, as 64 hex digits.

        The operator can prove later which text it stands for; nobody without the key can guess it, though
        names are few enough to try them all.
        """
        return hmac.new(self._sealing, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def signed(key: Ed25519PublicKey, digest: str, signature: str) -> bool:
    """Whether a key made the signature of a hash."""
    try:
        data = bytes.fromhex(signature)
        key.verify(data, digest.encode())
    except (InvalidSignature, ValueError, TypeError):
        return False
    # Another spelling of the same bytes is a change too.
    return data.hex() == signature


def fingerprint(key: Ed25519PublicKey) -> str:
    """The id of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def pem(key: Ed25519PublicKey) -> str:
    """A public key as PEM text."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_public(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file.

    Raises:
        InputError: the file cannot be read or is no Ed25519 public key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise InputError(f"public key {path} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is no Ed25519 public key in PEM; give the '.pub' file beside a ledger key")
    return key


def trusted(settings: Settings, files: Iterable[Path] = ()) -> Keys:
    """The keys whose signatures count: those published in home, the one the settings name, and ``files``.

    Raises:
        InputError: there is none, or a file is no public key.
    """
    found = sorted(settings.home.glob(f"{KEY_FILE}*.pub"))
    if settings.ledger_key is not None and settings.ledger_key.exists():
        key = Signer.load(settings.ledger_key, make=False).public
        known = [key, *map(read_public, found)]
    else:
        known = list(map(read_public, found))
    known += map(read_public, files)
    if not known:
        raise InputError(f"no public key of a ledger in {settings.home}; give --public-key FILE")
    return {fingerprint(key): key for key in known}


def _make(path: Path) -> None:
    text = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            # Entries signed by a key that a power cut took away would count as forged.
            os.fsync(file.fileno())
        # Linking decides which of two starting together makes the key, and shows it to the other only whole.
        path.hardlink_to(fresh)
    except FileExistsError:
        return
    except OSError as error:
        raise InputError(f"cannot make the ledger key {path}: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)


def _publish(signer: Signer, path: Path) -> None:
    """Writes the public half; that of an earlier key stays trusted under its id."""
    text = pem(signer.public)
    try:
        if path.exists():
            if path.read_text() == text:
                return
            old = fingerprint(read_public(path))
            path.replace(path.with_name(f"{path.stem}.{old}.pub"))
        fresh = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        fresh.write_text(text)
        fresh.replace(path)
    except OSError:
        # A key mounted read-only has no room for its public half beside it; nothing depends on it.
        return
