import shutil
import stat
import threading

import pytest
from control_fixtures import record
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import Encoding as KeyEncoding
from ledger_fixtures import make_small_ledger, opened

from guard.errors import InputError
from serving.settings import read_settings
from serving.signer import Signer, fingerprint, read_public, trusted
from serving.verification import verify_log


@pytest.fixture
def home(tmp_path):
    make_small_ledger(tmp_path / "home")
    return tmp_path / "home"


def test_seal_depends_on_the_key_and_the_text(tmp_path):
    signer, stranger = (Signer.load(tmp_path / name) for name in ("ours.key", "theirs.key"))
    assert signer.seal("Mina Okoro") == signer.seal("Mina Okoro")
    assert len({signer.seal("Mina Okoro"), signer.seal("Mina Okora"), stranger.seal("Mina Okoro")}) == 3


def test_key_is_made_once_by_whoever_comes_first_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "new" / "ledger.key"
    found, gate = [], threading.Barrier(8)

    def load():
        gate.wait()
        found.append(Signer.load(path).id)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.key", "ledger.key.pub"]
    assert fingerprint(read_public(path.with_name("ledger.key.pub"))) == found[0]


def _pem(key, encryption=None):
    return key.private_bytes(KeyEncoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key",
        _pem(generate_private_key(65537, 2048)),
        _pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
        _pem(Ed25519PrivateKey.generate())[:60],
    ],
    ids=["empty", "garbled", "RSA", "encrypted", "cut"],
)
def test_unusable_key_file_is_named_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "ledger.key"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"ledger key {path} is no unencrypted Ed25519"):
        Signer.load(path)
    assert path.read_bytes() == content


def test_named_key_must_exist_while_the_default_one_is_made(tmp_path):
    named = tmp_path / "elsewhere.key"
    with pytest.raises(InputError, match=f"{named} does not exist"):
        Signer.of(read_settings(home=tmp_path / "home", ledger_key=named))
    assert not named.exists()
    made = Signer.of(read_settings(home=tmp_path / "home"))
    assert (tmp_path / "home" / "ledger.key").exists()
    named.write_bytes((tmp_path / "home" / "ledger.key").read_bytes())
    assert Signer.of(read_settings(home=tmp_path / "other", ledger_key=named)).id == made.id


def test_entries_of_an_earlier_key_still_verify_when_it_was_replaced(home):
    (home / "ledger.key").unlink()
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, kept, _):
        log.append([record(1)])
        assert verify_log(log, kept).valid
        assert len({entry.signer for entry in log.entries()}) == len(trusted(kept)) == 2


def test_verification_without_any_public_key_is_refused(home, tmp_path):
    with pytest.raises(InputError, match="--public-key"):
        trusted(read_settings(home=tmp_path / "nowhere"))
    public = shutil.move(home / "ledger.key.pub", tmp_path / "auditor.pub")
    (home / "ledger.key").unlink()
    with opened(f"sqlite:///{home / 'lethe.db'}", tmp_path / "auditor") as (log, kept, _):
        (tmp_path / "auditor" / "ledger.key.pub").unlink()
        assert verify_log(log, kept, public_keys=[public]).valid
        with pytest.raises(InputError, match="Ed25519 public key"):
            verify_log(log, kept, public_keys=[tmp_path / "auditor" / "ledger.key"])
