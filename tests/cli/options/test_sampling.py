"""The options of sampling: what each becomes, and what is refused."""

import argparse
import json
from dataclasses import fields

import pytest
import tiny_model

from nybble import SamplingParams
from nybble.cli import main
from nybble.cli.options.sampling import add_sampling_options, sampling_params

GIVEN = {
    "-n 9": {"max_tokens": 9},
    "--min-tokens 3": {"min_tokens": 3},
    "--temp 0.5": {"temperature": 0.5},
    "--dynatemp-range 0.5": {"dynatemp_range": 0.5},
    "--dynatemp-exp 2": {"dynatemp_exponent": 2},
    "--top-k 5": {"top_k": 5},
    "--top-p 0.5": {"top_p": 0.5},
    "--min-p 0.5": {"min_p": 0.5},
    "--typical 0.5": {"typical_p": 0.5},
    "--top-n-sigma 1.5": {"top_n_sigma": 1.5},
    "--xtc-probability 0.5": {"xtc_probability": 0.5},
    "--xtc-threshold 0.2": {"xtc_threshold": 0.2},
    "--min-keep 2": {"min_keep": 2},
    "--repeat-penalty 1.1": {"repeat_penalty": 1.1},
    "--presence-penalty -1": {"presence_penalty": -1},
    "--frequency-penalty 0.1": {"frequency_penalty": 0.1},
    "--repeat-last-n 8": {"repeat_last_n": 8},
    "--dry-multiplier 0.8": {"dry_multiplier": 0.8},
    "--dry-base 2": {"dry_base": 2},
    "--dry-allowed-length 3": {"dry_allowed_length": 3},
    "--dry-penalty-last-n 512": {"dry_penalty_last_n": 512},
    "--dry-sequence-breaker . --dry-sequence-breaker ?": {"dry_sequence_breakers": (".", "?")},
    "--dry-sequence-breaker none": {"dry_sequence_breakers": ()},
    "--mirostat 2 --temp 1": {"mirostat": 2, "temperature": 1},
    "--mirostat-ent 4": {"mirostat_tau": 4},
    "--mirostat-lr 0.2": {"mirostat_eta": 0.2},
    "--adaptive-target 0.5 --temp 1": {"adaptive_target": 0.5, "temperature": 1},
    "--adaptive-decay 0.5": {"adaptive_decay": 0.5},
    "-l 17+2.5 -l 18-inf --logit-bias 19-1": {"logit_bias": {17: 2.5, 18: float("-inf"), 19: -1}},
    "--samplers top-k;min_p,temp": {"samplers": ("top_k", "min_p", "temperature")},
    "--seed 7": {"seed": 7},
    "--stop . --stop !": {"stop": (".", "!")},
    "--stop-token-id 5 --stop-token-id 6": {"stop_token_ids": (5, 6)},
    "--ignore-eos": {"ignore_eos": True},
    '--json-schema {"type":"null"}': {"json_schema": '{"type":"null"}'},
    "-j {}": {"json_schema": "{}"},
    "--json-object": {"json_object": True},
    "--grammar root::=[a]": {"grammar": "root::=[a]"},
    "--regex [a-c]+": {"regex": "[a-c]+"},
    "--choice yes --choice no": {"choice": ("yes", "no")},
    "--repetition-detection 64": {"repetition_detection": 64},
    "--logprobs 3": {"logprobs": 3},
    "--prompt-logprobs 0": {"prompt_logprobs": 0},
    "--echo": {"echo": True},
    "--no-skip-special-tokens": {"skip_special_tokens": False},
}
OF_REQUESTS = {"n", "n_draft", "cache_prompt", "cache_salt"}  # they change no text


def parsed(words: str, base: SamplingParams | None = None) -> SamplingParams:
    parser = argparse.ArgumentParser()
    add_sampling_options(parser)
    args = parser.parse_args(words.split())
    return sampling_params(args) if base is None else sampling_params(args, base)


@pytest.mark.parametrize("words", GIVEN)
def test_an_option_becomes_its_parameter(words):
    assert parsed(words) == SamplingParams(**GIVEN[words])


def test_each_parameter_has_an_option():
    covered = {name for given in GIVEN.values() for name in given}
    assert covered | OF_REQUESTS == {field.name for field in fields(SamplingParams)}


def test_options_that_are_not_given_are_those_of_the_base():
    base = SamplingParams(temperature=0.7, top_k=20, stop=["x"])
    assert parsed("", base) == base
    assert parsed("--top-k 0 --temp 0", base) == SamplingParams(stop=["x"])
    assert parsed("") == SamplingParams()


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return str(tiny_model.write(tmp_path_factory.mktemp("sampling") / "tiny.gguf"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-n -2", "-n must be an integer from 1 to 2147483647, not -2"),
        ("-n 0", "-n must be"),
        ("--temp 1e30", "--temp must be a number from 0 to 100, not 1e+30"),
        ("--temp nan", "--temp must be a number from 0 to 100, not nan"),
        ("--top-k -5", "--top-k must be an integer from 0"),
        ("--top-p 2", "--top-p must be a number above 0 and up to 1"),
        ("--repeat-penalty 0", "--repeat-penalty must be a number from 0.01 to 100, not 0.0"),
        ("--frequency-penalty 1e38", "--frequency-penalty must be"),
        ("--seed 18446744073709551616", "--seed must be an integer from 0 to 18446744073709551615"),
        ("--logprobs 21 --json", "--logprobs must be an integer from 0 to 20, not 21"),
        ("--logprobs 2", "--logprobs and --prompt-logprobs are shown with --json only"),
        ("-l 99999+1", "-l must have ids of tokens, 0 to"),
        ("-l 5+101", "-l must have numbers from -100 to 100, or -inf"),
        ("--stop-token-id 99999", "--stop-token-id must have ids of tokens, 0 to"),
        ("--stop " + "x" * 257, "--stop must be a list of at most 16 strings of 1 to 256"),
        ("--stop x " * 17, "--stop must be a list of at most 16 strings"),
        ("--mirostat 2", "--mirostat needs a temperature above 0"),
        ("--samplers top_k,top_q", "names"),
        ("--samplers top_k --min-p 0.5", "--min-p 0.5 does nothing where --samplers lacks 'min_p'"),
        ("--regex (", "--regex: unclosed group"),
        ('-j {"not":{}}', '--json-schema: "not" at #/not cannot be enforced'),
        ("--grammar start:foo", "--grammar: at 1"),
        ("--min-tokens 20 -n 10", "--min-tokens must be at most -n 10, not 20"),
    ],
)
def test_what_is_out_of_range_is_refused_in_words_of_the_command_line(tiny_path, capsys, words, message):
    assert main(["run", tiny_path, "the", "--raw", "--executor", "reference", *words.split()]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nybble: error: ") and err.count("\n") == 1
    assert message in err or (message == "names" and "samplers[1] must be the name" in err), err


@pytest.mark.parametrize(
    "words", ["-l x", "-l 5", "-l 5*1", "-l -1+1", "--top-k 1.5", "--temp x", "--mirostat x"]
)
def test_what_is_no_number_is_refused(tiny_path, capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(["run", tiny_path, "the", *words.split()])
    assert ended.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_json_has_log_probabilities(tiny_path, capsys):
    words = "-n 3 --logprobs 2 --prompt-logprobs 1 --json --seed 4 --temp 1"
    assert main(["run", tiny_path, "the other", "--raw", "--executor", "reference", *words.split()]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["token_id"] for entry in found["logprobs"]] == found["token_ids"]
    assert [len(entry["top_logprobs"]) for entry in found["logprobs"]] == [2] * len(found["token_ids"])
    assert found["prompt_logprobs"][0] is None and found["prompt_logprobs"][1]["logprob"] < 0
    assert found["seed"] == 4


def test_constraints_from_files_and_texts(tiny_path, capsys, tmp_path):
    schema, grammar = tmp_path / "schema.json", tmp_path / "list.gbnf"
    schema.write_text('{"enum": ["x", 7]}')
    grammar.write_text('root ::= "a" [bc]')
    for words, found in (
        (["--json-schema", str(schema)], ('"x"', "7")),
        (["-j", '{"const": 8}'], ("8",)),
        (["--grammar", str(grammar)], ("ab", "ac")),
        (["--grammar", 'start: "d" | "e"'], ("d", "e")),
        (["--regex", "[f-h]"], ("f", "g", "h")),
        (["--choice", "i", "--choice", "j k"], ("i", "j k")),
    ):
        assert main(["run", tiny_path, "the", "--raw", "--executor", "reference", *words]) == 0
        assert capsys.readouterr().out.removesuffix("\n") in found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-j", "no_such_file.json"], "cannot read 'no_such_file.json'"),
        (["--grammar", "/"], "cannot read '/'"),
        (["--regex", "a", "--choice", "b"], "not allowed with argument"),
    ],
)
def test_constraints_that_cannot_be_read(tiny_path, capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        main(["run", tiny_path, "the", *words])
    assert ended.value.code == 2 and message in capsys.readouterr().err
