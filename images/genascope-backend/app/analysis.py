"""Text analysis. Its packages are imported when they are used, so that the service also starts
where they are not installed."""

from functools import cache
from typing import Any


class Unavailable(Exception):
    """The machine-learning packages are not in this image."""


@cache
def tokenizer() -> Any:
    try:
        import spacy
    except ImportError as error:
        raise Unavailable(error.name) from error
    return spacy.blank("en")


def analyse(texts: list[str]) -> dict[str, Any]:
    """Groups texts by what they talk about, and names each group's weightiest words."""
    nlp = tokenizer()
    import numpy as np
    import pandas as pd
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = [[token.lower_ for token in nlp(text) if token.is_alpha] for text in texts]
    vectorizer = TfidfVectorizer(analyzer=lambda document: document)
    weights = vectorizer.fit_transform(words)
    groups = KMeans(n_clusters=min(2, len(texts)), n_init="auto", random_state=0).fit(weights)
    names = vectorizer.get_feature_names_out()
    top = np.argsort(groups.cluster_centers_, axis=1)[:, ::-1][:, :3]
    sizes = pd.Series(groups.labels_).value_counts().sort_index()
    return {
        "groups": [
            {"size": int(size), "words": [str(name) for name in names[top[group]]]}
            for group, size in sizes.items()
        ],
        "labels": groups.labels_.tolist(),
    }
