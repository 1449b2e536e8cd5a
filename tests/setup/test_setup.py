"""The set-up script, run as a user runs it. Only uv is replaced: by a script that records its arguments."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECORD = """
case "$*" in *--help*) echo "--excludes"; exit 0;; esac
echo "$@" >> "$(dirname "$0")/uv.log"
"""


@pytest.fixture
def calls(programs):
    """What the stand-in for uv was asked to do so far, one line per call."""
    log = programs("uv", RECORD).parent / "uv.log"
    return lambda: log.read_text().splitlines() if log.exists() else []


def test_setup_installs_the_cpu_build_without_the_parts_that_do_not_match_it(setup, calls, checkout):
    done = setup(LETHE_BUILD="cpu")
    assert done.returncode == 0, done.stderr
    (call,) = calls()
    assert call.endswith("-e .[cpu,bench,dev]")
    assert "-c constraints.txt" in call
    assert "--excludes excludes.txt" in call
    assert f"--python {checkout}/.venv/bin/python" in call


def test_setup_installs_the_gpu_build_where_nvidia_smi_lists_a_device(setup, calls, programs):
    programs("nvidia-smi", "echo 'GPU 0: Some Device'")
    assert setup().returncode == 0
    (call,) = calls()
    assert call.endswith("-e .[gpu,bench,dev]")
    assert "--excludes" not in call
    assert "--torch-backend" not in call


def test_setup_installs_the_cpu_build_where_nvidia_smi_fails(setup, calls, programs):
    programs("nvidia-smi", "exit 9")
    assert setup().returncode == 0
    assert calls()[0].endswith("-e .[cpu,bench,dev]")


def test_setup_hands_pips_find_links_to_uv_and_uses_the_cpu_torch_found_there(setup, calls, tmp_path):
    wheels, other = tmp_path / "wheels", tmp_path / "other"
    wheels.mkdir()
    other.mkdir()
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    (wheels / f"torch-2.13.0+cpu-cp{version}-cp{version}-linux_x86_64.whl").touch()
    assert (
        setup(LETHE_BUILD="cpu", PIP_FIND_LINKS=f"{other} {wheels}", LETHE_PYTHON=sys.executable).returncode
        == 0
    )
    assert f"--find-links {other} --find-links {wheels}" in calls()[0]
    assert "--torch-backend" not in calls()[0]


def test_setup_asks_for_the_cpu_torch_where_no_local_wheel_is_offered(setup, calls, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "torch-2.13.0-cp311-cp311-linux_x86_64.whl").touch()
    (wheels / "torch-2.13.0+cpu-cp38-cp38-linux_x86_64.whl").touch()
    assert setup(LETHE_BUILD="cpu", PIP_FIND_LINKS=str(wheels), PIP_CONFIG_FILE=os.devnull).returncode == 0
    assert "--torch-backend=cpu" in calls()[0]


def test_second_setup_does_nothing_in_under_two_seconds(setup, calls):
    assert setup(LETHE_BUILD="cpu").returncode == 0
    started = time.monotonic()
    again = setup()
    assert time.monotonic() - started < 2
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert len(calls()) == 1


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "excludes.txt"])
def test_setup_runs_again_after_a_change_of(name, setup, calls, checkout):
    assert setup(LETHE_BUILD="cpu").returncode == 0
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    assert setup().returncode == 0
    assert len(calls()) == 2


def test_setup_starts_over_when_the_build_changes(setup, calls, checkout):
    assert setup(LETHE_BUILD="cpu").returncode == 0
    left = checkout / ".venv" / "left-over"
    left.touch()
    assert setup(LETHE_BUILD="gpu").returncode == 0
    assert not left.exists()
    assert len(calls()) == 2


def test_setup_starts_over_after_an_interruption(setup, calls, programs, checkout):
    programs("uv", RECORD + "kill -9 $PPID")
    assert setup(LETHE_BUILD="cpu").returncode == -9
    left = checkout / ".venv" / "left-over"
    left.touch()
    programs("uv", RECORD)
    assert setup().returncode == 0
    assert not left.exists()
    assert len(calls()) == 2


def test_setup_completes_an_environment_of_the_users_own(setup, calls, checkout):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    mine = checkout / ".venv" / "mine"
    mine.touch()
    assert setup(LETHE_BUILD="cpu").returncode == 0
    assert mine.exists()
    assert len(calls()) == 1


def test_setup_repairs_an_environment_whose_python_is_gone(setup, calls, checkout):
    assert setup(LETHE_BUILD="cpu").returncode == 0
    (checkout / ".venv" / "bin" / "python").unlink()
    assert setup().returncode == 0
    subprocess.run([checkout / ".venv" / "bin" / "python", "-c", ""], check=True)


def test_failed_installation_is_reported_without_addresses_and_tried_again(setup, calls, programs):
    programs("uv", RECORD + "echo 'no such file at https://host/x'; exit 2")
    failed = setup(LETHE_BUILD="cpu")
    assert failed.returncode == 1
    assert failed.stderr.startswith(
        "set-up: uv could not install Lethe; the end of its output:\n    no such file"
    )
    assert "host" not in failed.stdout + failed.stderr
    programs("uv", RECORD)
    assert setup(LETHE_BUILD="cpu").returncode == 0
    assert len(calls()) == 2


def test_wrong_python_is_one_sentence(setup, calls, programs):
    old = programs("old-python", "echo 3.9; echo /usr/bin/old")
    done = setup(LETHE_PYTHON=str(old), LETHE_BUILD="cpu")
    assert done.returncode == 1
    assert done.stderr == (
        "set-up: Lethe needs Python 3.11, 3.12 or 3.13 and found 3.9; "
        "install one of them, or name it with LETHE_PYTHON=/path/to/python.\n"
    )
    assert not calls()


def test_full_disk_is_one_sentence(setup, calls, checkout):
    done = setup(LETHE_MIN_FREE_GB="1e9", LETHE_BUILD="cpu")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "GB free and the installation needs 1000000000 GB; make room and run again." in done.stderr
    assert not (checkout / ".venv").exists()


def test_unknown_build_is_one_sentence(setup):
    done = setup(LETHE_BUILD="tpu")
    assert (done.returncode, done.stderr) == (1, "set-up: LETHE_BUILD is 'tpu'; use cpu or gpu.\n")


def test_two_setups_take_turns(setup, calls, checkout: Path):
    handle = os.open(checkout, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    script = [sys.executable, str(checkout / "scripts" / "setup.py")]
    environment = os.environ | {
        "LETHE_BUILD": "cpu",
        "PATH": f"{checkout.parent}/programs:{os.environ['PATH']}",
    }
    with subprocess.Popen(script, env=environment, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert "another set-up is running" in waiting.stdout.readline()
        assert not (checkout / ".venv").exists()
        os.close(handle)
        waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert len(calls()) == 1
