"""DeepSpeed's JSON file: what training refuses a plan refuses too, with file and key."""

import json

import pytest

from agents.training import zero
from agents.training.plan.command import plan_command
from agents.training.plan.zero import zero_of
from agents.training.zero_file import read_settings

BROKEN = {
    "{": "not valid JSON",
    "[]": r"got list \[\], expected an object",
    "{}": "zero_optimization.stage: got 0, expected 1, 2 or 3",
    '{"zero_optimization": 3}': "zero_optimization: got int 3, expected an object",
    '{"zero_optimization": null}': "zero_optimization: got NoneType null, expected an object",
    '{"zero_optimization": {"stage": 7}}': "zero_optimization.stage: got 7, expected 1, 2 or 3",
    '{"zero_optimization": {"stage": "x"}}': "zero_optimization.stage: got 'x', expected",
    '{"zero_optimization": {"stage": true}}': "zero_optimization.stage: got True, expected",
    '{"zero_optimization": {"stage": [2]}}': r"zero_optimization.stage: got \[2\], expected",
    '{"zero_optimization": {"stage": 2}, "train_batch_size": 8}': (
        "got 'train_batch_size', which the config decides: set rollout.groups_per_step there"
    ),
    '{"zero_optimization": {"stage": 2}, "data_types": ["fp32"]}': (
        'data_types: got list .*"fp32".*, expected an object'
    ),
    '{"zero_optimization": {"stage": 2}, "data_types": {"grad_accum_dtype": "int8"}}': (
        "data_types.grad_accum_dtype: got 'int8', expected 'fp32': micro-batches add up in float32"
    ),
    '{"zero_optimization": {"stage": 2}, "data_types": {"grad_accum_dtype": "bf16"}}': (
        "data_types.grad_accum_dtype: got 'bf16', expected 'fp32'"
    ),
    '{"zero_optimization": {"stage": 2}, "graident_clip": 1.0}': (
        r"got the key 'graident_clip', expected one of zero_optimization, data_types, "
    ),
    '{"zero_optimization": {"stage": 2}, "wall_clock_breakdwn": true}': (
        r"got the key 'wall_clock_breakdwn' \(did you mean 'wall_clock_breakdown'\?\), expected"
    ),
    '{"zero_optimization": {"stage": 2}, "tensor_parallel": {"autotp_size": 2}}': (
        "got the key 'tensor_parallel', expected one of"
    ),
    '{"zero_optimization": {"stage": 2}, "communication_data_type": "fp16"}': (
        "communication_data_type: got 'fp16', expected 'fp32' or 'bf16'"
    ),
    '{"zero_optimization": {"stage": 2}, "zero_allow_untested_optimizer": false}': (
        "zero_allow_untested_optimizer: got bool false, expected True"
    ),
    '{"zero_optimization": {"stage": 3, "mics_shard_size": 2}}': (
        "zero_optimization: got the key 'mics_shard_size', expected one of stage, "
    ),
    '{"zero_optimization": {"stage": 3, "zero_quantized_weights": true}}': (
        "zero_optimization: got the key 'zero_quantized_weights', expected one of stage, "
    ),
    '{"zero_optimization": {"stage": 2, "offload_optimizer": "cpu"}}': (
        'zero_optimization.offload_optimizer: got str "cpu", expected an object'
    ),
    '{"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}': (
        "zero_optimization.offload_param.device: got 'nvme', expected 'cpu' or 'none'"
    ),
    '{"zero_optimization": {"stage": 3, "offload_param": {"device": ["cpu"]}}}': (
        r"zero_optimization.offload_param.device: got \['cpu'\], expected"
    ),
    '{"zero_optimization": {"stage": 2, "overlap_comm": "yes"}}': (
        'zero_optimization.overlap_comm: got str "yes", expected true or false'
    ),
} | {
    f'{{"zero_optimization": {{"stage": 2, "reduce_bucket_size": {value}}}}}': (
        "zero_optimization.reduce_bucket_size: got .*, expected a whole number from 0 up"
    )
    for value in ("null", "true", '"5e8"', "-1", "0.5", "Infinity", "NaN", "[]")
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_cannot_be_used_is_named_with_its_key(text, tmp_path, capsys):
    file = tmp_path / "zero.json"
    file.write_text(text)
    assert zero.read_settings is read_settings
    for read in (read_settings, zero_of):
        with pytest.raises(ValueError, match=f"^scale.deepspeed: {file}: {BROKEN[text]}"):
            read(str(file))
    words = ["configs/mgpo_7b_8gpu.yaml", "--plan", "--scale.deepspeed", str(file)]
    assert plan_command(words) == 2
    assert capsys.readouterr().err.startswith(f"error: scale.deepspeed: {file}: ")


def test_a_file_that_is_not_there(tmp_path, capsys):
    for read in (read_settings, zero_of):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.json: no such file"):
            read(str(tmp_path / "nowhere.json"))
    words = ["configs/mgpo_7b_8gpu.yaml", "--plan", f"--scale.deepspeed={tmp_path}/nowhere.json"]
    assert plan_command(words) == 2
    assert "nowhere.json: no such file" in capsys.readouterr().err


def test_what_deepspeed_takes_is_taken(tmp_path):
    file = tmp_path / "zero.json"
    part = {
        "stage": 3,
        "overlap_comm": None,
        "reduce_bucket_size": 2e8,
        "sub_group_size": "auto",
        "stage3_max_live_parameters": 5,
        "offload_optimizer": None,
        "offload_param": {"device": "cpu"},
        "contiguous_gradients": True,
    }
    whole = {"zero_optimization": part, "data_types": {"grad_accum_dtype": "fp32"}}
    file.write_text(json.dumps({**whole, "wall_clock_breakdown": True}))
    assert read_settings(file)["wall_clock_breakdown"] is True
    found = zero_of(str(file))
    assert (found.stage, found.optimizer_on_host, found.weights_on_host) == (3, False, True)
    assert (found.bucket, found.group, found.live) == (200_000_000, 1_000_000_000, 5)
    assert (found.overlap, found.accumulate) == (True, 4)
    part["overlap_comm"] = False
    file.write_text(json.dumps(whole))
    assert zero_of(str(file)).overlap is False


def test_stage_1_is_for_float32(tmp_path):
    """DeepSpeed's optimizer for bfloat16 in stage 1 has no state that can be written by rank."""
    file = tmp_path / "zero.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 1}}))
    assert read_settings(file)["zero_optimization"]["stage"] == 1
    for read in (read_settings, lambda path, dtype: zero_of(str(path), dtype)):
        with pytest.raises(ValueError, match=r"stage: got 1 with model\.dtype bfloat16"):
            read(file, "bfloat16")
