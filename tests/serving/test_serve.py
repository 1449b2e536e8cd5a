"""How `lethe serve` turns a command line into vLLM's arguments."""

import pytest
from engine_fixtures import ENGINE, model

from guard import reference
from guard.errors import GuardInactive, InputError
from guard.snapshot import load_snapshot
from serving import serve

pytestmark = ENGINE


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("LETHE_HOME", str(tmp_path))
    for name in ("VLLM_CPU_KVCACHE_SPACE", "TORCHDYNAMO_DISABLE"):
        monkeypatch.delenv(name)


def test_the_guard_is_put_into_any_command_line():
    args = serve.parse([model(), "--port", "9", "--additional-config", '{"theirs": 1}'])
    assert args.model == model()
    assert args.port == 9
    assert args.logits_processors == [serve.PROCESSOR]
    assert args.worker_extension_cls == serve.WORKER
    assert args.logprobs_mode == "processed_logprobs"
    assert args.api_server_count == 1
    assert args.additional_config["theirs"] == 1
    wiring = args.additional_config["lethe"]
    assert wiring["router"] is True
    assert not load_snapshot(wiring["snapshot"]).targets


def test_other_processors_run_before_the_guards():
    args = serve.parse([model(), "--logits-processors", "their.module:Processor", serve.PROCESSOR])
    assert args.logits_processors == ["their.module:Processor", serve.PROCESSOR]


def test_the_configuration_is_the_same_at_every_start():
    # It is part of vLLM's compile cache key.
    first, second = serve.parse([model()]), serve.parse([model()])
    assert first.additional_config == second.additional_config


def test_without_a_model_the_reference_model_is_served():
    args = serve.parse([])
    assert args.model == str(reference.path("full"))
    assert args.served_model_name == ["lethe-reference"]


def test_a_given_name_stays():
    assert serve.parse(["--served-model-name", "mine"]).served_model_name == ["mine"]


def test_the_model_option_does_as_well_as_the_word():
    assert serve.parse(["--model", model()]).model == model()


def test_a_machine_without_a_gpu_starts_quickly():
    args = serve.parse([model()])
    assert args.enforce_eager is True
    assert serve.os.environ["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert serve.os.environ["TORCHDYNAMO_DISABLE"] == "1"


def test_quick_start_leaves_what_was_given(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "3")
    args = serve.parse([model(), "--no-enforce-eager"])
    assert args.enforce_eager is False
    assert serve.os.environ["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert "TORCHDYNAMO_DISABLE" not in serve.os.environ


@pytest.mark.parametrize("given", [["-cc.mode=3"], ["--compilation-config", '{"mode": 3}']])
def test_quick_start_keeps_out_of_a_chosen_compilation(given):
    assert serve.parse([model(), *given]).enforce_eager is False


@pytest.mark.parametrize(
    "given",
    [
        ["--headless"],
        ["--grpc"],
        ["--grpc-port", "5"],
        ["--api-server-count", "2"],
        ["--worker-extension-cls", "their.Worker"],
        ["--logprobs-mode", "raw_logprobs"],
        ["--skip-tokenizer-init"],
        ["--additional-config", '{"lethe": {"router": false}}'],
    ],
    ids=lambda given: given[0],
)
def test_an_option_in_conflict_is_named(given):
    with pytest.raises(InputError, match=f"^{given[0]} cannot be used"):
        serve.parse([model(), *given])


def test_speculation_without_the_second_runner_is_refused():
    draft = f'{{"method": "draft_model", "model": "{model()}", "num_speculative_tokens": 2}}'
    args = serve.parse([model(), "--speculative-config", draft])
    with pytest.raises(InputError, match="--speculative-config"):
        serve.refuse_unguarded_speculation(args)


def test_no_speculation_is_no_conflict():
    serve.refuse_unguarded_speculation(serve.parse([model()]))


@pytest.mark.parametrize(("setting", "seconds"), [(None, 30), ("2.5", 3), ("0", 0)])
def test_running_requests_get_the_settings_time_after_a_stop_signal(monkeypatch, setting, seconds):
    if setting is not None:
        monkeypatch.setenv("LETHE_DRAIN_SECONDS", setting)
    assert serve.parse([model()]).shutdown_timeout == seconds


@pytest.mark.parametrize("seconds", [0, 7])
def test_a_given_time_after_a_stop_signal_stays(seconds):
    assert serve.parse([model(), "--shutdown-timeout", str(seconds)]).shutdown_timeout == seconds


@pytest.mark.parametrize("value", ["1", "true"])
def test_development_routes_are_refused(value):
    with pytest.raises(InputError, match="VLLM_SERVER_DEV_MODE"):
        serve.refuse_variables({"VLLM_SERVER_DEV_MODE": value})


@pytest.mark.parametrize("environ", [{}, {"VLLM_SERVER_DEV_MODE": "0"}, {"VLLM_SERVER_DEV_MODE": ""}])
def test_without_development_routes_all_is_well(environ):
    serve.refuse_variables(environ)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, ["lora_filesystem_resolver", "lora_hf_hub_resolver", "lethe"]),
        ({"VLLM_PLUGINS": "theirs"}, ["theirs", "lethe"]),
        ({"VLLM_PLUGINS": "lethe,theirs"}, ["lethe", "theirs"]),
        ({"VLLM_PLUGINS": ""}, ["lethe"]),
    ],
)
def test_the_plugin_is_allowed_beside_what_would_load_anyway(given, named):
    environ = dict(given)
    serve.allow_plugin(environ)
    found = environ["VLLM_PLUGINS"].split(",")
    assert [name for name in found if name in named] == named
    if "VLLM_PLUGINS" in given:
        assert found == named


def test_a_server_that_would_miss_the_plugin_does_not_start(monkeypatch):
    monkeypatch.setenv("VLLM_PLUGINS", "lethe")
    serve.require_plugin()
    monkeypatch.setenv("VLLM_PLUGINS", "theirs")
    with pytest.raises(GuardInactive, match="pip install lethe-guard"):
        serve.require_plugin()
