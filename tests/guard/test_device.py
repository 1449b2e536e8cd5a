"""The GPU kernels: interpreted, compiled for real devices without one, and on a device where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from guard.layout import History, Layout
from guard.restriction import Enforcer, Row

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


def run(*arguments, **variables):
    """A Python process; whether kernels are interpreted is decided when Triton is imported."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | variables
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment
    )


def test_interpreted_kernels_equal_the_host():
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "device_checks.py")]
    done = run(*command, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "5 passed" in done.stdout


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from guard import kernels

POINTERS = {
    "*i16": "pages", "*u8": "out out_flags edge bounded raw special shown leads",
    "*fp32": "weight logits",
    "*i64": "raw_start positions eos",
    "i32": "width stride separator collapses closing vocabulary ending ends",
}
types = {name: kind for kind, names in POINTERS.items() for name in names.split()}
for name in ("advance", "forbid", "forbid_tails", "rescue"):
    kernel = getattr(kernels, name)
    fixed = {arg: 256 if arg == "BLOCK" else 16 for arg in kernel.arg_names if arg in ("BLOCK", "SHARE")}
    signature = {a: "constexpr" if a in fixed else types.get(a, "*i32") for a in kernel.arg_names}
    constants = {(kernel.arg_names.index(arg),): value for arg, value in fixed.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    for capability in (80, 90):
        built = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        print(name, capability, len(built.asm["cubin"]))
"""


def test_kernels_compile_for_ampere_and_hopper():
    done = run("-c", COMPILE)
    assert done.returncode == 0, done.stderr[-3000:]
    sizes = [int(line.split()[2]) for line in done.stdout.splitlines()]
    assert len(sizes) == 8
    assert min(sizes) > 1000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_kernels_on_a_gpu_equal_the_host():
    from guard.device import DeviceEnforcer
    from tests.guard.device_checks import LENGTH, ROUTES, SLOTS, TOKENS, compiled

    tables = compiled()
    gpu = torch.device("cuda")
    tokens = torch.randint(1, len(TOKENS), (SLOTS, LENGTH), dtype=torch.int32)
    prompts = torch.full((SLOTS,), 5, dtype=torch.int32)
    host, guarded = Enforcer(tables), DeviceEnforcer(tables, gpu, SLOTS)
    for slot, targets in enumerate(ROUTES):
        host.open(slot, Row(tokens[slot, :5].tolist(), targets, None, []))
        guarded.open(slot, targets, None, 5)
    for known in range(5, LENGTH):
        slots = torch.arange(SLOTS, device=gpu)
        layout = Layout(
            slots, torch.zeros_like(slots), torch.full_like(slots, known - 1), tokens[:, known - 1].to(gpu)
        )
        expected, found = torch.zeros(SLOTS, len(TOKENS)), torch.zeros(SLOTS, len(TOKENS), device=gpu)
        host.step(expected)
        guarded.step(found, range(SLOTS), layout, History(tokens.to(gpu), prompts.to(gpu)))
        assert torch.equal(found.cpu(), expected)
        for slot in range(SLOTS):
            host.rows[slot].outputs.append(int(tokens[slot, known]))
